// The connection to the broker: it subscribes and publishes nothing.
//
// A broker drops what a client has not taken from its queue, and mosquitto queues 1,000 messages. So the page
// does not ask for all retained messages at once: it follows what is live, is told which nodes there are, and
// asks for a few nodes at a time what is retained of them.

import mqtt, { type IClientSubscribeProperties, type IClientSubscribeOptions, type MqttClient } from "mqtt";

import { parseTopic } from "./topic.ts";

export interface Credentials {
  /** Empty where the broker knows its user by a certificate. */
  user: string;
  password: string;
}

export type Link =
  | { is: "connecting" }
  /** `asking` while there are nodes whose retained messages have not been asked for. */
  | { is: "live"; asking: boolean }
  | { is: "lost"; reason: string }
  /** The broker does not want this user; it is not asked again. */
  | { is: "refused"; reason: string };

export interface Listener {
  /** Connected, once more or for the first time: whatever was known may be gone. */
  begun(): void;
  message(topic: string, payload: Uint8Array): void;
  link(link: Link): void;
}

export interface Connection {
  close(): void;
}

const LIVE = ["identity", "health", "indication", "event", "app/+", "result/+"];
/** Nodes at a time; each has about ten retained messages. */
const AT_A_TIME = 10;
const LISTEN_MS = 10_000;
const SILENT_MS = 35_000;
/** How many nodes are asked for at all; above that somebody makes names up. */
const MAX_NODES = 20_000;

export function connect(url: string, { user, password }: Credentials, listener: Listener): Connection {
  const client = mqtt.connect(url, {
    protocolVersion: 5,
    clean: true,
    clientId: `fleet-page-${crypto.getRandomValues(new Uint32Array(2)).join("-")}`,
    ...(user === "" ? {} : { username: user, password }),
    // A tab in the background is woken once a minute, which is often enough for this one.
    keepalive: 120,
    // No worker made of text: the page's policy forbids it.
    timerVariant: "native",
    connectTimeout: 15_000,
    reconnectPeriod: 2_000,
    reconnectOnConnackError: false,
    resubscribe: false,
    queueQoSZero: false,
    properties: { maximumPacketSize: 131_072 },
  });
  let heard = performance.now();
  let asker: Asker | undefined;
  listener.link({ is: "connecting" });
  client.on("connect", () => {
    listener.begun();
    asker = new Asker(client, listener);
    asker.start();
  });
  client.on("message", (topic, payload) => {
    listener.message(topic, payload);
    asker?.heardOf(parseTopic(topic)?.node);
  });
  client.on("packetreceive", () => (heard = performance.now()));
  client.on("error", (error) => {
    const code = (error as { code?: unknown }).code;
    // A reason code of the broker's: it has answered, and does not want this.
    if (typeof code === "number" && code >= 128) listener.link({ is: "refused", reason: `${error.message} (${code})` });
    else listener.link({ is: "lost", reason: error.message });
  });
  client.on("close", () => {
    asker?.stop();
    listener.link({ is: "lost", reason: "The connection to the broker is lost." });
  });
  // A connection can be dead without anybody saying so.
  const watch = setInterval(() => {
    if (!client.connected || document.hidden) return;
    if (performance.now() - heard > SILENT_MS) client.stream.destroy();
    else client.sendPing();
  }, LISTEN_MS);
  const gone = (): void => {
    if (client.connected) client.stream.destroy();
  };
  const shown = (): void => {
    // Nobody has listened for it while it was hidden.
    if (!document.hidden) heard = performance.now();
  };
  window.addEventListener("offline", gone);
  document.addEventListener("visibilitychange", shown);
  return {
    close() {
      clearInterval(watch);
      window.removeEventListener("offline", gone);
      document.removeEventListener("visibilitychange", shown);
      client.removeAllListeners("close").removeAllListeners("message").end(true);
    },
  };
}

/** Asks for what is retained, a few nodes at a time, on one connection. */
class Asker {
  private readonly known = new Set<string>();
  private waiting: string[] = [];
  private busy = false;
  private stopped = false;

  constructor(
    private readonly client: MqttClient,
    private readonly listener: Listener,
  ) {}

  start(): void {
    const live = Object.fromEntries(LIVE.map((topic) => [`edge/v1/+/${topic}`, { qos: 0, rh: 2, rap: true } as const]));
    this.listener.link({ is: "live", asking: true });
    this.busy = true;
    this.client.subscribe(live, this.next((): void => {
      this.client.subscribe("edge/v1/+/presence", { qos: 0, rap: true }, this.next(() => this.ask()));
    }));
  }

  stop(): void {
    this.stopped = true;
  }

  heardOf(node: string | undefined): void {
    if (node === undefined || this.known.has(node) || this.known.size >= MAX_NODES) return;
    this.known.add(node);
    this.waiting.push(node);
    if (!this.busy) this.ask();
  }

  private ask(): void {
    const topics = this.waiting.splice(0, AT_A_TIME).map((node) => `edge/v1/${node}/#`);
    this.busy = topics.length > 0;
    this.listener.link({ is: "live", asking: this.busy });
    if (!this.busy) return;
    // What is live comes by the other subscriptions.
    this.client.subscribe(topics, { qos: 0, rap: true } as IClientSubscribeOptions & IClientSubscribeProperties, this.next(() => {
      this.client.unsubscribe(topics, this.next(() => this.ask()));
    }));
  }

  /** What follows an answer of the broker, if it was one and the connection is still that. */
  private next(step: () => void): (error?: Error | null) => void {
    return (error) => {
      if (this.stopped) return;
      if (error) this.listener.link({ is: "refused", reason: `The broker does not let this user read: ${error.message}` });
      else step();
    };
  }
}
