// Pictures on buttons. They are decoration: the button has the words.

const PATHS = {
  back: "M15 5l-7 7 7 7",
  send: "M4 12l16-8-6 16-3-7z",
  attach: "M8 12.5l6-6a3 3 0 0 1 4.3 4.3l-7.8 7.7a5 5 0 0 1-7-7L11 4",
  plus: "M12 5v14M5 12h14",
  search: "M10.5 17a6.5 6.5 0 1 1 0-13 6.5 6.5 0 0 1 0 13zM15.5 15.5L20 20",
  menu: "M5 7h14M5 12h14M5 17h14",
  more: "M6 12h.01M12 12h.01M18 12h.01",
  close: "M6 6l12 12M18 6L6 18",
  down: "M12 4v12M7 11l5 5 5-5M5 20h14",
  file: "M7 3h7l4 4v14H7zM14 3v4h4",
  info: "M12 11v6M12 7.5h.01M12 21a9 9 0 1 1 0-18 9 9 0 0 1 0 18z",
  reply: "M9 7L4 12l5 5M4 12h9a6 6 0 0 1 6 6",
  clock: "M12 7v5l3 2M12 21a9 9 0 1 1 0-18 9 9 0 0 1 0 18z",
  sent: "M5 12.5l4.5 4.5L19 7",
  delivered: "M2 12.5l4.5 4.5L16 7M11 16l1 1L22 7",
  failed: "M12 8v5M12 16.5h.01M12 21a9 9 0 1 1 0-18 9 9 0 0 1 0 18z",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg class={`icon icon-${name}`} viewBox="0 0 24 24" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}
