// Photos: scaled down before they are sent, unless the original is wanted, and with a small picture of them.

/** Longest side of a photo that is sent, in pixels. */
const PHOTO_PX = 2_048;
/** Longest side of the small picture of it, and its quality: the first that is small enough. */
const THUMBNAILS = [[280, 0.7], [280, 0.5], [200, 0.4], [120, 0.4]] as const;
/** Most bytes of a small picture: it travels in the message. */
const THUMBNAIL_BYTES_MAX = 12_000;

/** What browsers show without danger. */
const SHOWN = ["image/jpeg", "image/png", "image/gif", "image/webp", "image/avif"];

export function isShown(contentType: string): boolean {
  return SHOWN.includes(contentType.split(";")[0]!.trim());
}

export interface Prepared {
  file: Blob;
  name: string;
  contentType: string;
  thumbnail?: Uint8Array;
}

/** A file as it is to be sent. */
export async function prepare(file: File, original: boolean): Promise<Prepared> {
  const given: Prepared = { file, name: file.name || "file", contentType: file.type || "application/octet-stream" };
  if (!isShown(given.contentType)) return given;
  let picture: ImageBitmap;
  try {
    picture = await createImageBitmap(file);
  } catch {
    return given;
  }
  const thumbnail = await thumbnailOf(picture);
  const scaled = original || given.contentType === "image/gif" ? undefined : await scaledTo(picture, PHOTO_PX, 0.85);
  picture.close();
  if (!scaled || scaled.size >= file.size) return { ...given, ...thumbnail };
  const name = given.name.replace(/\.[^.]*$/, "") + ".jpg";
  return { file: scaled, name, contentType: "image/jpeg", ...thumbnail };
}

async function thumbnailOf(picture: ImageBitmap): Promise<{ thumbnail?: Uint8Array }> {
  for (const [longest, quality] of THUMBNAILS) {
    const small = await scaledTo(picture, longest, quality);
    if (small && small.size <= THUMBNAIL_BYTES_MAX) return { thumbnail: new Uint8Array(await small.arrayBuffer()) };
  }
  return {};
}

function scaledTo(picture: ImageBitmap, longest: number, quality: number): Promise<Blob | null> {
  const factor = Math.min(1, longest / Math.max(picture.width, picture.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(picture.width * factor));
  canvas.height = Math.max(1, Math.round(picture.height * factor));
  const context = canvas.getContext("2d");
  if (!context) return Promise.resolve(null);
  // What is transparent becomes white: JPEG has no transparency.
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", quality));
}

/** Addresses of pictures, one for each array of bytes. */
const urls = new WeakMap<Uint8Array, string>();

/** The address of a small picture. What is no JPEG, PNG or WebP is none. */
export function thumbnailUrl(bytes: Uint8Array): string | undefined {
  const type = pictureType(bytes);
  if (!type) return undefined;
  let url = urls.get(bytes);
  if (!url) urls.set(bytes, (url = URL.createObjectURL(new Blob([bytes as Uint8Array<ArrayBuffer>], { type }))));
  return url;
}

function pictureType(bytes: Uint8Array): string | undefined {
  const starts = (...head: number[]) => head.every((byte, at) => bytes[at] === byte);
  if (starts(0xff, 0xd8, 0xff)) return "image/jpeg";
  if (starts(0x89, 0x50, 0x4e, 0x47)) return "image/png";
  return starts(0x52, 0x49, 0x46, 0x46) ? "image/webp" : undefined;
}
