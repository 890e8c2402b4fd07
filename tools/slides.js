// Slides: keys, clicks and, by scrolling, touch. Without this, they can still be scrolled.
(() => {
  const root = document.documentElement;
  const slides = [...document.querySelectorAll(".slide")];
  const phone = matchMedia("(max-width: 700px) and (orientation: portrait)");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const paint = (isDark) => (root.dataset.theme = isDark ? "dark" : "light");
  paint(dark.matches);
  dark.addEventListener("change", () => paint(dark.matches));

  const middle = (slide) => Math.abs(slide.getBoundingClientRect().top + slide.offsetHeight / 2 - innerHeight / 2);
  const here = () => slides.reduce((best, slide, at) => (middle(slide) < middle(slides[best]) ? at : best), 0);
  const go = (at) => {
    slides[Math.max(0, Math.min(at, slides.length - 1))].scrollIntoView();
  };
  const steps = { ArrowRight: 1, ArrowDown: 1, PageDown: 1, " ": 1, ArrowLeft: -1, ArrowUp: -1, PageUp: -1 };
  const isControl = (target) => target.closest("a, button, input, select, label");

  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || isControl(event.target)) return;
    if (event.key in steps) go(here() + steps[event.key] * (event.shiftKey && event.key === " " ? -1 : 1));
    else if (event.key === "Home") go(0);
    else if (event.key === "End") go(slides.length - 1);
    else if (event.key === "d") paint(root.dataset.theme !== "dark");
    else if (event.key === "f") root.requestFullscreen?.();
    else return;
    event.preventDefault();
  });
  addEventListener("click", (event) => {
    if (phone.matches || isControl(event.target) || String(getSelection())) return;
    go(here() + (event.clientX < innerWidth / 4 ? -1 : 1));
  });

  // Paper is white.
  let chosen;
  addEventListener("beforeprint", () => {
    chosen = root.dataset.theme;
    paint(false);
  });
  addEventListener("afterprint", () => (root.dataset.theme = chosen));
})();
