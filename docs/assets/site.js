// The search field of the page of operations, and tables that the keyboard can scroll.
"use strict";

// The theme puts wide tables into elements that scroll, once the page has loaded.
window.addEventListener("load", () => {
  for (const frame of document.querySelectorAll(".md-typeset__scrollwrap")) {
    if (frame.scrollWidth > frame.clientWidth) {
      frame.tabIndex = 0;
    }
  }
});

// The search leaves the rows that contain every word.
document.addEventListener("DOMContentLoaded", () => {
  const place = document.getElementById("operation-search");
  if (!place) {
    return;
  }
  place.innerHTML =
    '<label for="operation-words">Find an operation</label>' +
    '<input id="operation-words" type="search" autocomplete="off" spellcheck="false">' +
    '<p id="operation-count" role="status"></p>';
  const field = document.getElementById("operation-words");
  const count = document.getElementById("operation-count");

  // A section is a heading, its paragraphs and its table; it goes when no row of it is left.
  const sections = [];
  for (const heading of place.parentElement.querySelectorAll("h2")) {
    const parts = [heading];
    for (let next = heading.nextElementSibling; next && next.tagName !== "H2"; ) {
      parts.push(next);
      next = next.nextElementSibling;
    }
    const rows = parts.flatMap((part) => [...part.querySelectorAll("tbody tr")]);
    const named = rows.some((row) => row.querySelector("a[id]"));
    sections.push({ parts, rows: named ? rows : [] });
  }

  const search = () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    let found = 0;
    for (const { parts, rows } of sections) {
      let left = 0;
      for (const row of rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
        left += row.hidden ? 0 : 1;
      }
      found += left;
      for (const part of parts) {
        part.hidden = words.length > 0 && left === 0;
      }
    }
    count.textContent = !words.length ? "" : found === 1 ? "1 operation" : `${found} operations`;
  };
  field.addEventListener("input", search);
  search();
});
