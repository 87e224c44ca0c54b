// The search field of the page of operations: it leaves the rows that contain every word.
"use strict";

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
    if (rows.some((row) => row.querySelector("a[id]"))) {
      sections.push({ parts, rows });
    } else {
      sections.push({ parts, rows: [] });
    }
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
    count.textContent = words.length ? `${found} of the operations contain these words` : "";
  };
  field.addEventListener("input", search);
  search();
});
