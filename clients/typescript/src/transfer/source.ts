// Where the bytes of a file come from. What is kept of a file that is to be sent must still be there after a restart of the app:
// in a browser the store holds the file itself (a `Blob`), in Node the store holds its path.

/** What is kept of a file. */
export type FileSource = { kind: "blob"; blob: Blob } | { kind: "path"; path: string };

/** An open file. */
export interface OpenFile {
  readonly size: number;
  /** The bytes from `from` to `to`, excluded. @throws Error: it cannot be read, or has fewer. */
  read(from: number, to: number): Promise<Uint8Array>;
  close(): Promise<void>;
}

/** Opens what a path names; only Node can. */
export type OpenPath = (path: string) => Promise<OpenFile>;

/** @throws Error: it is gone, or cannot be read. */
export async function openSource(source: FileSource, openPath: OpenPath | undefined): Promise<OpenFile> {
  if (source.kind === "path") {
    if (!openPath) throw new Error("files have paths in Node only");
    return await openPath(source.path);
  }
  const { blob } = source;
  return {
    size: blob.size,
    read: async (from, to) => new Uint8Array(await blob.slice(from, to).arrayBuffer()),
    close: () => Promise.resolve(),
  };
}
