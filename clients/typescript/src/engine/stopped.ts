/** Thrown through a connection that this side ends: the client is closed, or begins anew on another network. */
export class Stopped extends Error {
  constructor(readonly why: "closed" | "anew") {
    super(why);
  }
}
