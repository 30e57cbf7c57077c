// Draws each formula that _ext/local_katex.py left in the page as TeX.
for (const formula of document.querySelectorAll(".math[data-display]")) {
  katex.render(formula.textContent, formula, {
    displayMode: formula.dataset.display === "true",
    throwOnError: false,
  });
}
