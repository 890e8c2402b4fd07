// What is wider than its place scrolls on its own. Let the keyboard scroll it, too, and only it: a tab
// stop on every formula would be one too many.
const MAY_SCROLL =
  ".bd-article :is(div.math, mjx-container, pre, .pst-scrollable-table-container)";

function letKeysScroll() {
  for (const place of document.querySelectorAll(MAY_SCROLL)) {
    if (place.scrollWidth > place.clientWidth) {
      place.tabIndex = 0;
    } else {
      place.removeAttribute("tabindex");
    }
  }
}

// A link to a place leads there also where formulas above it took another height.
function goToTarget() {
  document.querySelector(".bd-article :target")?.scrollIntoView();
}

// The size of a formula is known once MathJax has set it.
window.addEventListener("load", () => {
  const ready = window.MathJax?.startup?.promise ?? Promise.resolve();
  ready.then(letKeysScroll).then(goToTarget);
});
window.addEventListener("resize", letKeysScroll);
