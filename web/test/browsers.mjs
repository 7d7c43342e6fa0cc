// Browsers for tests: Chromium, which GODWIT_TEST_CHROMIUM names or the system has, and pages that fail a test by what they log.

import axe from "axe-core";
import assert from "node:assert/strict";
import { chromium } from "playwright-core";

import { Server } from "../../clients/typescript/dist/test/e2e/server.js";

export { Server };

const executablePath = process.env.GODWIT_TEST_CHROMIUM ?? "/usr/bin/chromium";

/** Runs a test with a server and a browser. `work` gets functions to log in, and what went wrong in any page. */
export async function withPages(work, settings = {}) {
  const server = await Server.start({ "retention.history": "7", ...settings });
  const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
  const wrong = [];
  try {
    await work({
      server,
      /** A browser of its own, where this account is logged in. */
      logIn: async (account, options = {}) => {
        const context = await browser.newContext({ viewport: { width: 1100, height: 720 }, ...options });
        context.setDefaultTimeout(30_000);
        watch(context, wrong);
        const page = await open(context, server);
        await page.getByLabel("User", { exact: true }).fill(account.user);
        await page.getByLabel("Device", { exact: true }).fill(account.device);
        await page.getByLabel("Password", { exact: true }).fill(account.password);
        await page.getByRole("button", { name: "Log in" }).click();
        await page.getByRole("navigation", { name: "Conversations" }).waitFor();
        return { context, page };
      },
      newContext: async (options) => {
        const context = await browser.newContext(options);
        watch(context, wrong);
        return context;
      },
    });
    assert.deepEqual(wrong, [], "nothing is logged, and the content security policy is kept");
  } finally {
    await browser.close();
    await server.remove();
  }
}

export async function open(context, server) {
  const page = await context.newPage();
  await page.goto(`http://${server.listeners.web}/`);
  return page;
}

function watch(context, wrong) {
  context.on("weberror", (error) => wrong.push(String(error.error())));
  context.on("console", (message) => {
    // A server that is away is none of the page's errors.
    const away = /WebSocket connection to|net::ERR_|Failed to load resource/.test(message.text());
    if (message.type() === "error" && !away) wrong.push(message.text());
  });
}

/** No violation that axe knows of, in both colour schemes. */
export async function assertAccessible(page, what) {
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    await page.evaluate(axe.source);
    const { violations } = await page.evaluate(() => globalThis.axe.run());
    const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map((it) => it.html.slice(0, 160)).join(" ")}`);
    assert.deepEqual(found, [], `${what}, ${colorScheme}`);
  }
  await page.emulateMedia({ colorScheme: null });
}

/** Sends a text in the conversation that is open. */
export async function say(page, text) {
  await page.getByRole("textbox", { name: "Message" }).fill(text);
  await page.keyboard.press("Enter");
}

/** A message of the conversation that is open. */
export function shown(page, text) {
  return page.locator(".messages .message", { hasText: text });
}
