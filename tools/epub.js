// The article of an open page as XHTML for a book reader: no script, nothing to press, formulas as
// MathML. It returns the title, the markup, and the text of the styles that its outputs bring.
() => {
  const shown = document.querySelector("article"), article = shown.cloneNode(true);
  const all = (selector) => [...article.querySelectorAll(selector)];
  const styles = all("style").map((style) => style.textContent);
  const turned = (element, name) => {
    const other = document.createElement(name);
    other.append(...element.childNodes);
    for (const { name: key, value } of element.attributes) other.setAttribute(key, value);
    element.replaceWith(other);
    return other;
  };

  // Formulas: MathJax leaves them to screen readers as MathML. Readers of books do not know a row
  // with a label, nor alignment by attributes; what was written in TeX stands in for the picture.
  const source = new Map();
  for (const item of window.MathJax?.startup?.document?.math ?? []) source.set(item.typesetRoot, item.math);
  const written = [...shown.querySelectorAll("mjx-container")].map((box) => source.get(box));
  all("mjx-container").forEach((box, at) => {
    const formula = box.querySelector("math");
    formula.setAttribute("alttext", written[at].trim());
    for (const row of formula.querySelectorAll("mlabeledtr")) {
      const plain = document.createElementNS(formula.namespaceURI, "mtr");
      plain.append(...row.childNodes);
      plain.append(plain.firstChild);
      plain.lastChild.setAttribute("style", "padding-left: 2em");
      row.replaceWith(plain);
    }
    // What TeX knows and MathML guesses: no space around a slash, nor after the sign of a number.
    for (const sign of formula.querySelectorAll("mo")) {
      const before = sign.previousElementSibling;
      if (sign.textContent === "/") ["lspace", "rspace"].forEach((side) => sign.setAttribute(side, "0"));
      if ("−+±".includes(sign.textContent) && before?.localName === "mo" && !")]|".includes(before.textContent))
        sign.setAttribute("form", "prefix");
    }
    for (const table of formula.querySelectorAll("mtable[columnalign]")) {
      const list = (name) => (table.getAttribute(name) ?? "0").split(" ");
      const nth = (values, n) => values[Math.min(n, values.length - 1)];
      const [sides, gaps] = [list("columnalign"), list("columnspacing")];
      for (const row of table.children)
        [...row.children].forEach((cell, n) => {
          const gap = n ? nth(gaps, n - 1) : "0";
          cell.setAttribute("style", `text-align: ${nth(sides, n)}; padding: 0.2em 0 0.2em ${gap}`);
        });
    }
    box.replaceWith(formula);
  });

  // What answers to a reader, and what belongs to the page.
  const furniture = ["script", "style", "button", "output", ".headerlink", ".vg-done", ".vg-set", ".vg-score"];
  furniture.push(".vg-tag > a", ".tag_bootstrap", "#vg-progress", "summary .expanded", "input", ".vg-check:not(.vg-yes, .vg-no)");
  for (const piece of all(furniture.join())) piece.remove();
  for (const label of all("summary p")) label.replaceWith(...label.childNodes);
  for (const choice of all(".vg-quiz label")) turned(choice, "p").className = "vg-choice";
  for (const frame of all("fieldset")) turned(frame, "div");
  for (const asked of all("legend")) turned(asked, "p");
  for (const link of article.querySelectorAll("a[href]")) link.setAttribute("href", link.href);
  for (const piece of all("*"))
    for (const { name } of [...piece.attributes])
      if (name.startsWith("data-") || name.startsWith("aria-live")) piece.removeAttribute(name);
  const title = article.querySelector("h1").textContent.trim();
  return [title, new XMLSerializer().serializeToString(turned(article, "main")), styles];
}
