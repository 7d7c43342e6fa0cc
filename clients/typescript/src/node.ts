// What only Node has: a store in a file, and files that are named by a path.

import { constants } from "node:fs";
import { open } from "node:fs/promises";

import type { OpenFile, OpenPath } from "./transfer/source.js";

export { FileStore } from "./store/file.js";

/** For `ConnectOptions.openPath`. @throws Error: it is gone, or no file that can be read */
export const openPath: OpenPath = async (path): Promise<OpenFile> => {
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const stat = await file.stat();
  if (!stat.isFile()) {
    await file.close();
    throw new Error(`${path} is no file`);
  }
  return {
    size: stat.size,
    read: async (from, to) => {
      const bytes = new Uint8Array(to - from);
      let at = 0;
      while (at < bytes.length) {
        const { bytesRead } = await file.read(bytes, at, bytes.length - at, from + at);
        if (bytesRead === 0) break;
        at += bytesRead;
      }
      return bytes.subarray(0, at);
    },
    close: () => file.close(),
  };
};
