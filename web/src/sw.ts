// Keeps the page itself, so that it opens without a connection. Assets have their hash in their address and never change; the page
// is asked for anew each time, and taken from here only if there is no answer.

declare const self: ServiceWorkerGlobalScope;

const CACHE = "godwit-page-1";

self.addEventListener("install", (event) => {
  event.waitUntil(caches.open(CACHE).then((cache) => cache.add("/")).then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const { origin, pathname } = new URL(request.url);
  if (request.method !== "GET" || origin !== self.location.origin) return;
  if (request.mode === "navigate") event.respondWith(page(request));
  else if (pathname.startsWith("/assets/")) event.respondWith(asset(request));
});

async function page(request: Request): Promise<Response> {
  const cache = await caches.open(CACHE);
  try {
    const response = await fetch(request);
    if (response.ok) {
      const before = await cache.match("/");
      await cache.put("/", response.clone());
      // Of another version: its assets are asked for anew.
      if (before && before.headers.get("etag") !== response.headers.get("etag")) await forgetAssets(cache);
    }
    return response;
  } catch (error) {
    const kept = await cache.match("/");
    if (kept) return kept;
    throw error;
  }
}

async function forgetAssets(cache: Cache): Promise<void> {
  for (const request of await cache.keys()) if (new URL(request.url).pathname !== "/") await cache.delete(request);
}

async function asset(request: Request): Promise<Response> {
  const cache = await caches.open(CACHE);
  const kept = await cache.match(request);
  if (kept) return kept;
  const response = await fetch(request);
  if (response.ok) await cache.put(request, response.clone());
  return response;
}

export {};
