//! The screen: conversations on the left, the open one on the right, the line being typed below.

use std::time::SystemTime;

use godwit_client::{SendState, Status};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Position, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line as Spans, Span};
use ratatui::widgets::{Block, Borders, Clear, Paragraph};
use unicode_width::UnicodeWidthStr as _;

use crate::text::{age, wrap};
use crate::view::{Line, Row, View, has_time, row_name};

const DIM: Style = Style::new().fg(Color::DarkGray);
const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const READ: Style = Style::new().fg(Color::Cyan).add_modifier(Modifier::BOLD);
/// Below this the list is not worth its place.
const NARROW: u16 = 50;
const LIST_COLUMNS: u16 = 24;

/// Draws everything.
pub(crate) fn draw(frame: &mut Frame<'_>, view: &View, now: SystemTime) {
    let [head, body, line] =
        Layout::vertical([Constraint::Length(1), Constraint::Min(1), Constraint::Length(2)]).areas(frame.area());
    draw_head(frame, head, view);
    let list_columns = if body.width < NARROW { 0 } else { LIST_COLUMNS };
    let [list, talk] = Layout::horizontal([Constraint::Length(list_columns), Constraint::Min(1)]).areas(body);
    if list_columns > 0 {
        draw_list(frame, list, view, now);
    }
    draw_talk(frame, talk, view, now);
    draw_input(frame, line, view);
    draw_notice(frame, body, view);
}

fn draw_head(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let colour = match view.status {
        Status::Online => Color::Green,
        Status::Refused(_) => Color::Red,
        _ => Color::Yellow,
    };
    let mut state = view.connection();
    if usize::from(area.width) < view.who.width() + state.width() + 12 {
        state.truncate(state.find(':').unwrap_or(state.len()));
    }
    let left = Spans::from(vec![Span::styled(" godwit ", BOLD), Span::raw(&view.who)]);
    let right = Spans::from(Span::styled(format!("{state} "), Style::new().fg(colour))).right_aligned();
    frame.render_widget(Paragraph::new(left), area);
    frame.render_widget(Paragraph::new(right), area);
}

fn draw_list(frame: &mut Frame<'_>, area: Rect, view: &View, now: SystemTime) {
    let block = Block::new().borders(Borders::TOP | Borders::RIGHT).border_style(DIM);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let height = usize::from(inner.height);
    let first = view.open.unwrap_or(0).saturating_sub(height.saturating_sub(1));
    let rows = view.rows.iter().enumerate().skip(first).take(height);
    let rows = rows.map(|(at, row)| list_row(row, view.open == Some(at), usize::from(inner.width), now));
    frame.render_widget(Paragraph::new(rows.collect::<Vec<_>>()), inner);
}

fn list_row(row: &Row, open: bool, columns: usize, now: SystemTime) -> Spans<'static> {
    let age = if has_time(row.at) { age(row.at, now) } else { String::new() };
    let mark = if row.unread { "● " } else { "  " };
    let room = columns.saturating_sub(mark.width() + age.width() + 2);
    let name = wrap(&row_name(row), room).into_iter().next().unwrap_or_default();
    let gap = " ".repeat(room.saturating_sub(name.width()) + 1);
    let style = if open { Style::new().add_modifier(Modifier::REVERSED) } else { Style::new() };
    let style = if row.unread { style.add_modifier(Modifier::BOLD) } else { style };
    let mark = Span::styled(mark, style.fg(Color::Cyan));
    Spans::from(vec![mark, Span::styled(name, style), Span::styled(format!("{gap}{age} "), style.fg(Color::DarkGray))])
}

fn draw_talk(frame: &mut Frame<'_>, area: Rect, view: &View, now: SystemTime) {
    let title = view.open.and_then(|open| view.rows.get(open)).map(row_name).unwrap_or_default();
    let typing = match view.typing()[..] {
        [] if view.is_online() => "· online ".to_owned(),
        [] => String::new(),
        [who] => format!("· {who} types "),
        _ => "· several type ".to_owned(),
    };
    let title = if title.is_empty() { title } else { format!(" {title} {typing}") };
    let block = Block::new().borders(Borders::TOP).border_style(DIM).title(Span::styled(title, BOLD));
    let inner = block.inner(area);
    frame.render_widget(block, area);
    if view.lines.is_empty() {
        let words = if view.rows.is_empty() { "Nobody yet. Type @name and Enter to talk to somebody." } else { "" };
        frame.render_widget(Paragraph::new(Span::styled(words, DIM)), inner);
        return;
    }
    let columns = usize::from(inner.width);
    let mut lines = Vec::new();
    let mut before: Option<&Line> = None;
    for line in &view.lines {
        lines.extend(message(line, before, columns, now));
        before = Some(line);
    }
    let height = usize::from(inner.height);
    let back = view.back.min(lines.len().saturating_sub(height));
    let first = lines.len().saturating_sub(height + back);
    let shown: Vec<_> = lines.into_iter().skip(first).take(height).collect();
    // The newest is at the bottom, beside what is being typed.
    let empty = height.saturating_sub(shown.len());
    let bottom = Rect { y: inner.y + u16::try_from(empty).unwrap_or(0), ..inner }.intersection(inner);
    frame.render_widget(Paragraph::new(shown), bottom);
}

/// A message: own ones on the right with their ticks, others' on the left under their sender's name.
fn message(line: &Line, before: Option<&Line>, columns: usize, now: SystemTime) -> Vec<Spans<'static>> {
    let room = (columns * 3 / 4).max(8);
    let age = format!(" {}", age(line.at, now));
    let text = wrap(&line.text, room.saturating_sub(age.width() + 3));
    let mut lines = Vec::new();
    if let Some(from) = &line.from
        && before.is_none_or(|before| before.from.as_ref() != Some(from))
    {
        lines.push(Spans::from(Span::styled(from.clone(), Style::new().fg(colour_of(from)).patch(BOLD))));
    }
    let last = text.len().saturating_sub(1);
    for (at, text) in text.into_iter().enumerate() {
        let mut spans = vec![Span::raw(text)];
        if at == last {
            spans.push(Span::styled(age.clone(), DIM));
            spans.extend(line.state.as_ref().map(tick));
        }
        let spans = Spans::from(spans);
        lines.push(if line.from.is_none() { spans.right_aligned() } else { spans });
    }
    lines
}

/// How far an own message is.
fn tick(state: &SendState) -> Span<'static> {
    match state {
        SendState::Queued => Span::styled(" ·", DIM),
        SendState::Sent { .. } => Span::styled(" ✓", DIM),
        SendState::Delivered { .. } => Span::styled(" ✓✓", DIM),
        SendState::Read { .. } => Span::styled(" ✔✔", READ),
        SendState::Refused(_) => Span::styled(" ✗", Style::new().fg(Color::Red)),
    }
}

/// The same for one person everywhere.
fn colour_of(name: &str) -> Color {
    const COLOURS: [Color; 6] =
        [Color::Green, Color::Magenta, Color::Blue, Color::Yellow, Color::LightRed, Color::LightGreen];
    let sum: usize = name.bytes().map(usize::from).sum();
    COLOURS[sum % COLOURS.len()]
}

fn draw_input(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let block = Block::new().borders(Borders::TOP).border_style(DIM);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    // A long line is shown around its cursor.
    let room = usize::from(inner.width).saturating_sub(3);
    let column = view.input.column();
    let hidden = column.saturating_sub(room);
    let mut skipped = 0;
    let shown = view.input.text().chars().skip_while(|c| {
        let skip = skipped < hidden;
        skipped += unicode_width::UnicodeWidthChar::width(*c).unwrap_or(0);
        skip
    });
    let line = Spans::from(vec![Span::styled("> ", DIM), Span::raw(shown.collect::<String>())]);
    frame.render_widget(Paragraph::new(line), inner);
    let x = inner.x + 2 + u16::try_from(column - hidden).unwrap_or(0);
    frame.set_cursor_position(Position::new(x.min(inner.right().saturating_sub(1)), inner.y));
}

/// What the program says lies over the messages until the next key.
fn draw_notice(frame: &mut Frame<'_>, body: Rect, view: &View) {
    if view.notice.is_empty() {
        return;
    }
    let lines: Vec<_> = view.notice.lines().flat_map(|line| wrap(line, usize::from(body.width).max(4) - 2)).collect();
    let height = u16::try_from(lines.len()).unwrap_or(u16::MAX).min(body.height);
    let area = Rect { y: body.bottom() - height, height, ..body };
    frame.render_widget(Clear, area);
    let style = Style::new().fg(Color::Yellow);
    let lines: Vec<_> = lines.into_iter().map(|line| Spans::styled(format!(" {line}"), style)).collect();
    frame.render_widget(Paragraph::new(lines), area);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use godwit_client::Recipient;
    use godwit_client::ids::{ConversationId, Seq, UserId};
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;

    fn screen(view: &View, columns: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(columns, 9)).unwrap();
        terminal.draw(|frame| draw(frame, view, SystemTime::UNIX_EPOCH + Duration::from_secs(200))).unwrap();
        let buffer = terminal.backend().buffer();
        let row = |y| (0..columns).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
        (0..9).map(row).collect()
    }

    fn line(from: Option<&str>, text: &str, state: Option<SendState>) -> Line {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(20);
        Line { from: from.map(str::to_owned), text: text.to_owned(), at, state }
    }

    fn view() -> View {
        let mut view = View::new("alice/phone".to_owned());
        let at = (ConversationId::new(99), Seq::new(2));
        view.status = Status::Online;
        view.say("");
        let row = |to, name: &str, unread| Row { to, name: name.to_owned(), unread, at: SystemTime::UNIX_EPOCH };
        let bob = Recipient::User(UserId::new("bob").unwrap());
        view.rows = vec![row(bob, "bob", false), row(at.0.into(), "a very long walk by the sea", true)];
        view.open = Some(0);
        view.lines = vec![
            line(Some("bob"), "hello alice", None),
            line(None, "hi", Some(SendState::Read { at })),
            line(None, "there?", Some(SendState::Queued)),
        ];
        view
    }

    #[test]
    fn a_conversation_with_ticks() {
        let shown = screen(&view(), 70);
        assert!(shown[0].starts_with(" godwit alice/phone") && shown[0].ends_with("online"), "{shown:#?}");
        assert!(shown[1].contains(" bob "), "{shown:#?}");
        assert!(shown[2].contains("bob") && shown[4].contains("hello alice 3m"), "{shown:#?}");
        assert!(shown[3].starts_with("● a very long walk"), "{shown:#?}");
        assert!(shown[5].ends_with("hi 3m ✔✔") && shown[6].ends_with("there? 3m ·"), "{shown:#?}");
    }

    #[test]
    fn a_narrow_screen_shows_the_conversation_only_and_a_notice_lies_over_it() {
        let mut view = view();
        view.say("/help says what\nmay be typed");
        let shown = screen(&view, 30);
        assert!(shown[3].starts_with("bob"), "{shown:#?}");
        assert_eq!(&shown[5..7], [" /help says what", " may be typed"]);
        for columns in 1..12 {
            screen(&view, columns);
        }
    }

    #[test]
    fn scrolling_back_ends_at_the_first_message() {
        let mut view = view();
        view.lines = (0..40).map(|number| line(Some("bob"), &number.to_string(), None)).collect();
        assert!(screen(&view, 60)[6].contains("39"));
        view.back = 10_000;
        assert!(screen(&view, 60)[3].ends_with("0 3m"), "below the sender's name");
    }

    #[test]
    fn who_types_is_beside_the_name() {
        let mut view = view();
        let until = tokio::time::Instant::now();
        view.typing.push((view.rows[0].to.clone(), "bob".to_owned(), until));
        view.typing.push((view.rows[1].to.clone(), "carol".to_owned(), until));
        assert!(screen(&view, 60)[1].contains(" bob · bob types "), "{:?}", screen(&view, 60));
    }
}
