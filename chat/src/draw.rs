//! The screen: conversations on the left, the open one on the right, the line being typed below.

use std::time::SystemTime;

use godwit_client::{SendState, Status};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Position, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line as Spans, Span};
use ratatui::widgets::{Block, Borders, Paragraph};

use crate::age::age;
use crate::shown::{Shown, shown};
use crate::view::{ConversationRow, MessageLine, ScreenModel, has_time};
use crate::words;

const DIM: Style = Style::new().fg(Color::DarkGray);
const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const READ: Style = Style::new().fg(Color::Cyan).add_modifier(Modifier::BOLD);
/// Below this the list is not worth its place.
const NARROW: u16 = 50;
const LIST_COLUMNS: u16 = 24;

/// Lines of the conversation that stay to be seen above what the program says.
const SEEN: u16 = 4;

/// Draws everything.
pub(crate) fn draw(frame: &mut Frame<'_>, view: &ScreenModel, now: SystemTime) {
    let notice = notice(view, frame.area());
    let notice_lines = u16::try_from(notice.len()).unwrap_or(u16::MAX);
    let [head, body, said, line] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Min(1),
        Constraint::Length(notice_lines),
        Constraint::Length(2),
    ])
    .areas(frame.area());
    draw_head(frame, head, view);
    let list_columns = if body.width < NARROW { 0 } else { LIST_COLUMNS };
    let [list, talk] = Layout::horizontal([Constraint::Length(list_columns), Constraint::Min(1)]).areas(body);
    if list_columns > 0 {
        draw_list(frame, list, view, now);
    }
    draw_talk(frame, talk, view, now);
    frame.render_widget(Paragraph::new(notice), said);
    draw_input(frame, line, view);
}

/// All text of the screen but the program's own words.
fn span(text: &Shown, style: Style) -> Span<'static> {
    Span::styled(text.as_str().to_owned(), style)
}

fn draw_head(frame: &mut Frame<'_>, area: Rect, view: &ScreenModel) {
    let colour = match view.status {
        Status::Online => Color::Green,
        Status::Refused(_) => Color::Red,
        _ => Color::Yellow,
    };
    // Why there is no connection, as far as there is room.
    let room = usize::from(area.width).saturating_sub(view.who.columns() + 12);
    let state = words::connection(&view.status).wrap(room).into_iter().next().unwrap_or_default();
    let left = Spans::from(vec![Span::styled(" godwit ", BOLD), span(&view.who, Style::new())]);
    let right = Spans::from(span(&shown![state, " "], Style::new().fg(colour))).right_aligned();
    frame.render_widget(Paragraph::new(left), area);
    frame.render_widget(Paragraph::new(right), area);
}

fn draw_list(frame: &mut Frame<'_>, area: Rect, view: &ScreenModel, now: SystemTime) {
    let block = Block::new().borders(Borders::TOP | Borders::RIGHT).border_style(DIM);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let height = usize::from(inner.height);
    let first = view.open.unwrap_or(0).saturating_sub(height.saturating_sub(1));
    let rows = view.rows.iter().enumerate().skip(first).take(height);
    let rows = rows.map(|(at, row)| list_row(row, view.open == Some(at), usize::from(inner.width), now));
    frame.render_widget(Paragraph::new(rows.collect::<Vec<_>>()), inner);
}

fn list_row(row: &ConversationRow, open: bool, columns: usize, now: SystemTime) -> Spans<'static> {
    let age = if has_time(row.at) { age(row.at, now) } else { Shown::default() };
    let age = if row.unread > 1 { shown![row.unread, " ", age] } else { age };
    let mark = if row.unread > 0 { "● " } else { "  " };
    let room = columns.saturating_sub(2 + age.columns() + 2);
    let name = row.name.wrap(room).into_iter().next().unwrap_or_default();
    let gap = " ".repeat(room.saturating_sub(name.columns()) + 1);
    let style = if open { Style::new().add_modifier(Modifier::REVERSED) } else { Style::new() };
    let style = if row.unread > 0 { style.add_modifier(Modifier::BOLD) } else { style };
    let dim = style.fg(Color::DarkGray);
    let mark = Span::styled(mark, style.fg(Color::Cyan));
    Spans::from(vec![mark, span(&name, style), Span::styled(gap, dim), span(&shown![age, " "], dim)])
}

fn draw_talk(frame: &mut Frame<'_>, area: Rect, view: &ScreenModel, now: SystemTime) {
    let open = view.open.and_then(|open| view.rows.get(open));
    let typing = match view.typing()[..] {
        [] if view.is_online() => shown!["· online "],
        [] => Shown::default(),
        [who] => shown!["· ", who.clone(), " types "],
        _ => shown!["· several type "],
    };
    let title = open.map_or_else(Shown::default, |row| shown![" ", row.name, " ", typing]);
    let block = Block::new().borders(Borders::TOP).border_style(DIM).title(span(&title, BOLD));
    let inner = block.inner(area);
    frame.render_widget(block, area);
    if view.lines.is_empty() {
        let words = if view.rows.is_empty() { "Nobody yet. Type @name and Enter to talk to somebody." } else { "" };
        frame.render_widget(Paragraph::new(Span::styled(words, DIM)), inner);
        return;
    }
    let columns = usize::from(inner.width);
    let mut lines = Vec::new();
    let mut before: Option<&MessageLine> = None;
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
fn message(line: &MessageLine, before: Option<&MessageLine>, columns: usize, now: SystemTime) -> Vec<Spans<'static>> {
    let room = (columns * 3 / 4).max(8);
    let age = shown![" ", age(line.at, now)];
    let text = line.text.wrap(room.saturating_sub(age.columns() + 3));
    let mut lines = Vec::new();
    if let Some(from) = &line.from
        && before.is_none_or(|before| before.from.as_ref() != Some(from))
    {
        lines.push(Spans::from(span(from, Style::new().fg(colour_of(from)).patch(BOLD))));
    }
    let side = |spans: Spans<'static>| if line.from.is_none() { spans.right_aligned() } else { spans };
    if let Some(answers) = line.answers.as_ref().and_then(|it| it.wrap(room.saturating_sub(3)).into_iter().next()) {
        lines.push(side(Spans::from(span(&shown!["\u{250C} ", answers], DIM))));
    }
    let last = text.len().saturating_sub(1);
    for (at, text) in text.into_iter().enumerate() {
        let mut spans = vec![span(&text, Style::new())];
        if at == last {
            spans.push(span(&age, DIM));
            spans.extend(line.state.as_ref().map(tick));
        }
        lines.push(side(Spans::from(spans)));
    }
    if !line.reactions.is_empty() {
        let reactions = line.reactions.wrap(room.saturating_sub(3));
        lines.extend(reactions.iter().map(|it| side(Spans::from(span(&shown!["\u{2514} ", it], DIM)))));
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
fn colour_of(name: &Shown) -> Color {
    const COLOURS: [Color; 6] =
        [Color::Green, Color::Magenta, Color::Blue, Color::Yellow, Color::LightRed, Color::LightGreen];
    let sum: usize = name.as_str().bytes().map(usize::from).sum();
    COLOURS[sum % COLOURS.len()]
}

fn draw_input(frame: &mut Frame<'_>, area: Rect, view: &ScreenModel) {
    let block = Block::new().borders(Borders::TOP).border_style(DIM);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    // A long line is shown around its cursor.
    let (line, column) = view.input.visible(usize::from(inner.width).saturating_sub(3));
    let spans = Spans::from(vec![Span::styled("> ", DIM), span(&line, Style::new())]);
    frame.render_widget(Paragraph::new(spans), inner);
    let x = inner.x.saturating_add(2).saturating_add(u16::try_from(column).unwrap_or(u16::MAX));
    frame.set_cursor_position(Position::new(x.min(inner.right().saturating_sub(1)), inner.y));
}

/// What the program says, until the next key: it stands below the messages and hides none of the last.
fn notice(view: &ScreenModel, area: Rect) -> Vec<Spans<'static>> {
    if view.notice.is_empty() {
        return Vec::new();
    }
    let style = Style::new().fg(Color::Yellow);
    let room = usize::from(area.width).max(4) - 2;
    let lines = view.notice.lines().flat_map(|line| line.wrap(room));
    let height = usize::from(area.height.saturating_sub(3 + SEEN).max(1));
    lines.take(height).map(|line| Spans::from(span(&shown![" ", line], style))).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use godwit_client::OfflineCause;
    use godwit_client::ids::{ConversationId, Seq, UserId};
    use godwit_client::text::is_hidden;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;

    fn screen(view: &ScreenModel, columns: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(columns, 9)).unwrap();
        terminal.draw(|frame| draw(frame, view, SystemTime::UNIX_EPOCH + Duration::from_secs(200))).unwrap();
        let buffer = terminal.backend().buffer();
        let row = |y| (0..columns).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
        (0..9).map(row).collect()
    }

    fn line(from: Option<&str>, text: &str, state: Option<SendState>) -> MessageLine {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(20);
        let (text, from) = (Shown::text(text.as_bytes()), from.map(Shown::name));
        MessageLine { from, answers: None, text, reactions: Shown::default(), at, state }
    }

    fn view() -> ScreenModel {
        let mut view = ScreenModel::new(Shown::name("alice/phone"));
        let at = (ConversationId::new(99), Seq::new(2));
        view.status = Status::Online;
        view.say(Shown::default());
        let row = |to, name: &str, other, unread| ConversationRow {
            to,
            name: Shown::name(name),
            other,
            unread,
            at: SystemTime::UNIX_EPOCH,
        };
        let bob = UserId::new("bob").unwrap();
        view.rows = vec![
            row(ConversationId::new(98).into(), "bob", Some(bob), 0),
            row(at.0.into(), "a very long walk by the sea", None, 7),
        ];
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
        assert!(shown[3].split("│").next().unwrap().contains('7'), "{shown:#?}");
        assert!(shown[5].ends_with("hi 3m ✔✔") && shown[6].ends_with("there? 3m ·"), "{shown:#?}");
    }

    #[test]
    fn a_notice_hides_no_message() {
        let mut view = view();
        view.lines = vec![line(Some("bob"), "the first", None)];
        view.say(Shown::text(b"/help says what\nmay be typed"));
        let shown = screen(&view, 30);
        assert!(shown[3].starts_with("bob") && shown[4].starts_with("the first"), "{shown:#?}");
        assert_eq!(&shown[5..7], [" /help says what", " may be typed"]);
        view.say(Shown::text("much\n".repeat(40).as_bytes()));
        assert!(screen(&view, 30).iter().any(|line| line.starts_with("the first")));
        for columns in 1..12 {
            screen(&view, columns);
        }
    }

    #[test]
    fn an_answer_shows_what_it_answers_and_a_reaction_who_reacts() {
        let mut view = view();
        let answer = MessageLine { answers: Some(Shown::name("bob: hello alice")), ..view.lines[1].clone() };
        let reacted = MessageLine { reactions: Shown::name("+1 alice"), ..view.lines[0].clone() };
        view.lines = vec![reacted, answer];
        let shown = screen(&view, 70);
        assert!(shown[4].contains("└ +1 alice"), "{shown:#?}");
        assert!(shown[5].ends_with("┌ bob: hello alice") && shown[6].ends_with("hi 3m ✔✔"), "{shown:#?}");
    }

    #[test]
    fn why_there_is_no_connection_is_in_the_head() {
        let mut view = view();
        let why = "\u{202e}connection\x1b[2J refused".to_owned();
        view.status = Status::Offline(OfflineCause::Unreachable(why));
        let shown = screen(&view, 100);
        assert!(shown[0].contains("offline: the server cannot be reached"), "{shown:#?}");
        assert!(shown[0].ends_with("\u{FFFD}connection\u{FFFD}[2J refused"), "{shown:#?}");
        for columns in 1..60 {
            screen(&view, columns);
        }
    }

    #[test]
    fn strangers_command_no_terminal() {
        let hostile = "a\x1b[31m\u{9b}2J\u{202e}gnp.exe\u{2066}\u{200b}\r\x07\u{e0041}";
        let mut view = view();
        view.rows[0].name = Shown::name(hostile);
        view.lines = vec![line(Some(hostile), hostile, None)];
        view.lines[0].answers = Some(Shown::name(hostile));
        view.lines[0].reactions = Shown::name(hostile);
        view.say(Shown::error(hostile));
        view.input.insert(hostile);
        let shown = screen(&view, 90).join("\n");
        let bad = shown.chars().filter(|c| *c != '\n' && is_hidden(*c)).collect::<String>();
        assert_eq!(bad.escape_unicode().to_string(), "");
        assert!(shown.matches("gnp.exe").count() >= 6, "{shown}");
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
    fn who_types_is_beside_the_name_until_it_has_said_it() {
        let mut view = view();
        let until = tokio::time::Instant::now();
        let [bob, carol] = ["bob", "carol"].map(|name| UserId::new(name).unwrap());
        let (here, there) = (ConversationId::new(98), ConversationId::new(99));
        view.typing.push((here, bob.clone(), until));
        view.typing.push((there, carol, until));
        assert!(screen(&view, 60)[1].contains(" bob · bob types "), "{:?}", screen(&view, 60));
        view.types_no_more(there, &bob);
        assert!(screen(&view, 60)[1].contains("types"), "it said something elsewhere");
        view.types_no_more(here, &bob);
        assert!(!screen(&view, 60)[1].contains("types"));
    }
}
