// Every visible text on a page whose contrast with what lies behind it is below AA: 4.5 to 1, or
// 3 to 1 for large text. An expression that gives a function; test_browser.py evaluates it in the page.
() => {
  const AREA = "article, .bd-sidebar-primary, .bd-sidebar-secondary, .bd-footer-content, .prev-next-area";
  const SKIP = "svg, script, style, .katex-mathml, .headerlink";

  const parse = (colour) => {
    const [r, g, b, alpha] = colour.match(/[\d.]+/g).map(Number);
    return [r, g, b, alpha ?? 1];
  };
  const over = (top, under) =>
    [0, 1, 2].map((i) => top[i] * top[3] + under[i] * (1 - top[3]));
  const luminance = (colour) => {
    const [r, g, b] = colour
      .map((v) => v / 255)
      .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) {
      layers.unshift(parse(getComputedStyle(at).backgroundColor));
    }
    return layers.reduce((under, top) => over(top, under), [255, 255, 255]);
  };

  const faint = new Set();
  for (const root of document.querySelectorAll(AREA)) {
    const texts = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
      const words = texts.currentNode.data.trim();
      const element = texts.currentNode.parentElement;
      const seen = { opacityProperty: true, visibilityProperty: true };
      if (!words || element.closest(SKIP) || !element.checkVisibility(seen)) continue;

      const style = getComputedStyle(element);
      const behind = ground(element);
      const levels = [over(parse(style.color), behind), behind].map(luminance);
      const ratio = (Math.max(...levels) + 0.05) / (Math.min(...levels) + 0.05);
      const size = parseFloat(style.fontSize);
      const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
      if (ratio < (large ? 3 : 4.5)) {
        const path = [element.parentElement, element].map((e) => `${e.tagName}.${e.className}`);
        faint.add(`${ratio.toFixed(2)} "${words.slice(0, 30)}" in ${path.join(" > ")}`);
      }
    }
  }
  return [...faint];
}
