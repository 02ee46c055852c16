// Who looks, and whose keys he knows.

import type { Credentials } from "../connection.ts";
import { keptKeys, writeKeys } from "../session.ts";
import { type Keys, readKeys } from "../verdict.ts";
import { button, el, write } from "./element.ts";

export function signIn(fault: string, enter: (credentials: Credentials) => void): HTMLElement {
  const user = el("input", { id: "user", autocomplete: "username", autocapitalize: "none", spellcheck: "false" });
  const password = el("input", { id: "password", type: "password", autocomplete: "current-password" });
  const form = el("form", { class: "card sign-in" },
    el("h1", {}, "Sign in"),
    el("p", { class: "quiet" }, "As you are known to the MQTT broker. This page only reads; your password stays in this tab."),
    fault !== "" && el("p", { class: "fault", role: "alert" }, fault),
    el("label", { for: "user" }, "User"), user,
    el("label", { for: "password" }, "Password"), password,
    el("button", { type: "submit" }, "Sign in"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    enter({ user: user.value, password: password.value });
  });
  return form;
}

/** A dialog for the public keys of the nodes. */
export function keysDialog(done: (keys: Keys) => void): void {
  const area = el("textarea", { id: "keys", rows: 8, spellcheck: "false", autocomplete: "off" });
  area.value = writeKeys(keptKeys());
  const fault = el("p", { class: "fault", role: "alert" });
  const dialog = el("dialog", { "aria-labelledby": "keys-title" },
    el("h2", { id: "keys-title" }, "Keys of the nodes"),
    el("label", { for: "keys" }, "One line a node: its name, =, and its public key. They stay in this browser, and are no secret."),
    area,
    el("p", { class: "quiet" }, "The node tells its key in its topic identity and on its own page. Take it from the node itself, not from here, to be certain of it."),
    fault,
    el("p", { class: "choice" }, button("Save", save), button("Cancel", () => dialog.close())));
  function save(): void {
    const { keys, faults } = readKeys(area.value);
    if (faults.length > 0) {
      write(fault, `This is no node=key: ${faults.slice(0, 3).join(" · ")}`);
      return;
    }
    dialog.close();
    done(keys);
  }
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}
