// Who is logged in in this browser, for all tabs. It stays until the user logs out.

/** What a device logs in with. */
export interface Session {
  user: string;
  device: string;
  /** The device's password, or a token. */
  password: string;
}

const KEY = "godwit.session";

export function load(): Session | undefined {
  try {
    const found = JSON.parse(localStorage.getItem(KEY) ?? "null") as Partial<Session> | null;
    const { user, device, password } = found ?? {};
    return user && device && password ? { user, device, password } : undefined;
  } catch {
    return undefined;
  }
}

export function save(session: Session): void {
  localStorage.setItem(KEY, JSON.stringify(session));
}

export function forget(): void {
  localStorage.removeItem(KEY);
}

/** Calls back when another tab logs in or out. */
export function onChange(listener: () => void): void {
  window.addEventListener("storage", ({ key }) => key === KEY && listener());
}

/** A name for this browser as a device: it has none from elsewhere. */
export function newDeviceName(): string {
  return `web-${crypto.getRandomValues(new Uint32Array(1))[0]!.toString(36)}`;
}

/** What a token (JWT) says of itself. The server checks it; here it only fills in a form. */
export function readToken(token: string): { user?: string; device?: string } {
  try {
    const part = token.split(".")[1]!.replace(/-/g, "+").replace(/_/g, "/");
    const claims = JSON.parse(atob(part)) as { sub?: unknown; device?: unknown };
    const text = (claim: unknown) => (typeof claim === "string" ? { it: claim } : undefined)?.it;
    return { user: text(claims.sub), device: text(claims.device) };
  } catch {
    return {};
  }
}

/** A refusal of the server, in its own words. */
async function post(path: string, body: object): Promise<Response> {
  const response = await fetch(path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  if (response.ok) return response;
  const problem = (await response.json().catch(() => ({}))) as { detail?: string };
  const after = response.headers.get("retry-after");
  const wait = after ? ` Try again in ${after} seconds.` : "";
  throw new Error((problem.detail ?? `The server answers with ${response.status}.`) + wait);
}

/** Has a code sent to a phone number. */
export async function askForCode(phone: string): Promise<void> {
  await post("/v1/registrations", { phone });
}

/** Makes an account, or a device of the one that has the number. */
export async function register(phone: string, code: string): Promise<Session> {
  const response = await post("/v1/registrations/verify", { phone, code, device: newDeviceName() });
  return (await response.json()) as Session;
}
