// What a reader has read, solved and answered, kept in this browser and sent nowhere. Pages work the
// same without it: where the browser keeps nothing (private windows), nothing of this is shown.
const KEPT_AS = "vanishing-gradients-progress";

function progressStore() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEPT_AS) ?? "{}");
    localStorage.setItem(KEPT_AS, JSON.stringify(kept));
    return kept && typeof kept === "object" ? kept : {};
  } catch {
    return null;
  }
}

// {read: true, solved: {exercise: true}, right: 3, asked: 5} for one page.
function changePage(page, change) {
  const kept = progressStore() ?? {};
  kept[page] = { solved: {}, ...kept[page] };
  change(kept[page]);
  localStorage.setItem(KEPT_AS, JSON.stringify(kept));
  showProgress();
}

const bookRoot = new URL(document.documentElement.dataset.content_root ?? "./", location.href);

function pageOf(address) {
  return new URL(address, location.href).pathname.slice(bookRoot.pathname.length);
}

const here = pageOf(location.href) || "index.html";

function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function addCheckbox(place, words, isOn, onChange) {
  const box = element("input", { type: "checkbox", checked: isOn });
  box.addEventListener("change", () => onChange(box.checked));
  place.after(element("label", { className: "vg-done" }, box, " ", words));
}

function exercises() {
  return document.querySelectorAll("section[id^='exercise-'] > h3");
}

function chapterLinks() {
  return [...document.querySelectorAll(".bd-sidebar-primary a.reference.internal")].filter((link) =>
    pageOf(link.href).startsWith("chapters/")
  );
}

// --- on a chapter: a tick for each exercise and one for the whole --------------------------------

function addCheckboxes(kept) {
  const mine = { solved: {}, ...kept[here] };
  for (const heading of exercises()) {
    const name = heading.parentElement.id;
    addCheckbox(heading, "I have solved it", Boolean(mine.solved[name]), (isOn) =>
      changePage(here, (page) => (page.solved[name] = isOn))
    );
  }
  const end = document.querySelector("article.bd-article > section > section:last-of-type");
  if (here.startsWith("chapters/") && end) {
    addCheckbox(end, "I have read this chapter", Boolean(mine.read), (isOn) =>
      changePage(here, (page) => (page.read = isOn))
    );
  }
}

// The best score of a page counts, all its quizzes together: trying again can only help.
function watchQuizzes() {
  const asked = document.querySelectorAll(".vg-quiz fieldset").length;
  for (const quiz of document.querySelectorAll(".vg-quiz")) {
    new MutationObserver(() => {
      const right = document.querySelectorAll(".vg-quiz fieldset > .vg-yes").length;
      changePage(here, (page) => {
        page.right = Math.max(right, page.right ?? 0);
        page.asked = asked;
      });
    }).observe(quiz.querySelector(".vg-score output"), { childList: true });
  }
}

// --- everywhere: ticks in the contents; on the first page also a sum ------------------------------

function showProgress() {
  const kept = progressStore() ?? {};
  for (const link of chapterLinks()) {
    link.querySelector(".vg-ticked")?.remove();
    if (kept[pageOf(link.href)]?.read) {
      const tick = element("span", { className: "vg-ticked", role: "img", textContent: " ✓" });
      tick.setAttribute("aria-label", "read");
      link.append(tick);
    }
  }
  const sum = document.getElementById("vg-progress");
  if (sum) {
    sum.querySelector("output").textContent = inWords(kept);
  }
}

function inWords(kept) {
  const pages = Object.values(kept);
  const chapters = new Set(chapterLinks().map((link) => pageOf(link.href)));
  const read = [...chapters].filter((page) => kept[page]?.read).length;
  const solved = pages.flatMap((page) => Object.values(page.solved ?? {})).filter(Boolean).length;
  const total = (name) => pages.reduce((sum, page) => sum + (page[name] ?? 0), 0);
  return (
    `chapters read ${read} of ${chapters.size}, exercises solved ${solved}, ` +
    `quiz questions right ${total("right")} of ${total("asked")}.`
  );
}

function addSum() {
  const page = document.querySelector("article.bd-article > section");
  if (here !== "intro.html" || !page) {
    return;
  }
  const forget = element("button", { type: "button", textContent: "Forget it" });
  forget.addEventListener("click", () => {
    if (confirm("Forget what you have read, solved and answered in this browser?")) {
      localStorage.removeItem(KEPT_AS);
      showProgress();
    }
  });
  const words = "Your progress, kept in this browser only: ";
  const sum = element("p", { id: "vg-progress" }, words, element("output", {}), " ", forget);
  page.append(sum);
}

window.addEventListener("DOMContentLoaded", () => {
  const kept = progressStore();
  if (kept) {
    addCheckboxes(kept);
    watchQuizzes();
    addSum();
    showProgress();
  }
});
