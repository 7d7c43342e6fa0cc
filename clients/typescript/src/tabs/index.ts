// One client for all tabs of a page: `lead` in a worker of each tab, `Tab` in the page.

export type { TabApi } from "./api.js";
export { type LeaderOptions, lead } from "./leader.js";
export { Tab } from "./tab.js";
