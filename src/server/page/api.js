// SPDX-License-Identifier: Apache-2.0
// The server, as the page sees it.

export let key = sessionStorage.getItem("key") ?? "";

export function setKey(value) {
  key = value;
  sessionStorage.setItem("key", value);
}

function headers(more) {
  return key ? { ...more, Authorization: `Bearer ${key}` } : more;
}

async function check(response) {
  if (response.ok) return response;
  const body = await response.json().catch(() => null);
  const error = new Error(body?.error?.message ?? response.statusText);
  error.status = response.status;
  throw error;
}

export async function get(path) {
  return (await check(await fetch(path, { headers: headers({}) }))).json();
}

export async function remove(path) {
  return (await check(await fetch(path, { method: "DELETE", headers: headers({}) }))).json();
}

// The events of POST /chat, one object each.
export async function* chat(body, signal) {
  const response = await check(await fetch("chat", {
    method: "POST", signal, headers: headers({ "Content-Type": "application/json" }), body: JSON.stringify(body),
  }));
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let pending = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const events = (pending + value).split("\n\n");
    pending = events.pop();
    for (const event of events) {
      if (!event.startsWith("data: ") || event === "data: [DONE]") continue;
      const data = JSON.parse(event.slice(6));
      if (data.error) throw new Error(data.error.message);
      yield data;
    }
  }
}
