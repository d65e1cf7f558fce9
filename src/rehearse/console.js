// Looks at the page again every two seconds and takes over what is marked as live; forms stay as they are.
"use strict";

const PAUSE_MS = 2000;

async function look() {
  try {
    const answer = await fetch(location.pathname);
    if (answer.ok) {
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const part of document.querySelectorAll("[data-live]")) {
        const now = fresh.getElementById(part.id);
        if (now && now.innerHTML !== part.innerHTML) part.replaceChildren(...now.childNodes);
      }
    }
    document.body.classList.toggle("gone", !answer.ok);
  } catch {
    document.body.classList.add("gone");
  }
  setTimeout(look, PAUSE_MS);
}

setTimeout(look, PAUSE_MS);
