// The page allows no text to become a script (Trusted Types). These are the only addresses that become scripts: its own.

type Url = string & { readonly trusted?: never };

interface Policy {
  createScriptURL(url: string): Url;
}

/** Set by the build. */
declare const WORKER_URL: string;

const OWN = [WORKER_URL, "/sw.js"];
const rules = {
  createScriptURL: (url: string): string => {
    if (!OWN.includes(url)) throw new TypeError(`not a script of this page: ${url}`);
    return url;
  },
};

const factory = (globalThis as { trustedTypes?: { createPolicy(name: string, rules: object): Policy } }).trustedTypes;
const policy: Policy = factory ? factory.createPolicy("godwit", rules) : rules;

export function startWorker(): Worker {
  return new Worker(policy.createScriptURL(OWN[0]!), { type: "module", name: "godwit" });
}

/** Lets the page open without a connection. */
export function startServiceWorker(): void {
  void navigator.serviceWorker?.register(policy.createScriptURL(OWN[1]!)).catch(() => undefined);
}
