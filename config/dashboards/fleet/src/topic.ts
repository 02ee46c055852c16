// The names on the broker, as the agent makes them: edge/v1/<node>/….

export type Kind = "presence" | "identity" | "health" | "indication" | "event" | "app" | "result";

export interface Topic {
  node: string;
  kind: Kind;
  /** The name of the application, or the id of the command; empty for every other kind. */
  name: string;
}

const ROOT = "edge/v1/";
const NAME = /^[A-Za-z0-9._-]{1,64}$/;
const APPLICATION = /^[A-Za-z0-9._-]{1,507}$/;
const PLAIN: readonly string[] = ["presence", "identity", "health", "indication", "event"];

export const isNode = (text: string): boolean => NAME.test(text);

/** Undefined for whatever an agent does not publish. */
export function parseTopic(topic: string): Topic | undefined {
  if (!topic.startsWith(ROOT)) return undefined;
  const [node, kind, name, more] = topic.slice(ROOT.length).split("/");
  if (node === undefined || kind === undefined || !isNode(node) || more !== undefined) return undefined;
  if (name === undefined) return PLAIN.includes(kind) ? { node, kind: kind as Kind, name: "" } : undefined;
  if (kind === "app" && APPLICATION.test(name)) return { node, kind, name };
  if (kind === "result" && NAME.test(name)) return { node, kind, name };
  return undefined;
}
