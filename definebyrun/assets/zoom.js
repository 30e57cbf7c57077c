// Fit, zoom and pan of a drawing, in a player or alone. The page holds for it
//   .dbr-frame   around a drawing; .dbr-graph in it scrolls, .dbr-zoom in it are the buttons, hidden until they are needed
//   data-first   on .dbr-graph: the card that a picture larger than its frame begins at
//   data-zoom    on a button: what it does
// Scripts may run before the page holds their drawing, so one that is not ready yet is looked for, `tries` times.
(function find(tries) {
  const STEP = 1.25, LEAST = 0.1, MOST = 4, DRAG_PX = 4, PADDING_PX = 20;

  function start(box) {
    const tools = box.parentNode.querySelector(".dbr-zoom"), full = tools.querySelector("[data-zoom=full]");
    box.dataset.ready = "1";
    let svg, width, height, drag = null, dragged = false, fingers = 0;
    function look(view) {
      svg = view.querySelector("svg");
      ({ width, height } = svg.viewBox.baseVal);
    }
    look(box);

    function shown() { // a page's own style may give the picture another shape
      const b = svg.getBoundingClientRect();
      return Math.min(b.width / width, b.height / height);
    }
    const overflows = () => box.scrollWidth > box.clientWidth + 1 || box.scrollHeight > box.clientHeight + 1;
    function say() {
      const scale = shown();
      if (!scale) return; // not laid out
      full.textContent = Math.round(scale * 100) + " %";
      box.classList.toggle("dbr-pans", overflows());
      if (overflows() || scale < 0.995 || svg.style.width || tools.querySelector("span")) tools.hidden = false;
    }
    // Zoom so that what lies at (x, y) of the window stays there; the middle of the frame where nothing is said.
    function zoom(scale, x, y) {
      const b = box.getBoundingClientRect(), before = svg.getBoundingClientRect();
      x ??= b.left + b.width / 2;
      y ??= b.top + b.height / 2;
      const across = (x - before.left) / before.width, down = (y - before.top) / before.height;
      const wide = width * Math.max(LEAST, Math.min(MOST, scale)) + "px";
      Object.assign(svg.style, { width: wide, minWidth: wide, maxWidth: "none", height: "auto" });
      const after = svg.getBoundingClientRect();
      box.scrollBy(after.left + across * after.width - x, after.top + down * after.height - y);
      say();
    }
    function fit() {
      const tall = box.scrollHeight > box.clientHeight + 1 || box.dataset.tall;
      if (tall) box.dataset.tall = "1"; // its frame has a height of its own
      const [a, b] = [(box.clientWidth - PADDING_PX) / width, (box.clientHeight - PADDING_PX) / height];
      zoom(Math.min(1, a, tall ? b : 1));
    }
    const acts = {
      fit,
      full: () => zoom(1),
      in: (x, y) => zoom(shown() * STEP, x, y),
      out: (x, y) => zoom(shown() / STEP, x, y),
    };
    tools.addEventListener("click", (event) => {
      const button = event.target.closest("[data-zoom]");
      if (button) acts[button.dataset.zoom]();
    });
    box.addEventListener("keydown", (event) => {
      if (event.altKey || event.ctrlKey || event.metaKey) return;
      const act = { "+": "in", "=": "in", "-": "out", 0: "fit" }[event.key];
      if (act) {
        event.preventDefault();
        acts[act]();
      }
      if (act || (event.key.startsWith("Arrow") && overflows() && !box.closest(".dbr-player"))) event.stopPropagation();
    });
    box.addEventListener("wheel", (event) => { // a pinch on a touch pad is a wheel with Ctrl
      if (!event.ctrlKey) return;
      event.preventDefault();
      zoom(shown() * Math.exp(-event.deltaY / 200), event.clientX, event.clientY);
    }, { passive: false });

    // The mouse drags; a finger scrolls by itself, two of them zoom.
    box.addEventListener("pointerdown", (event) => {
      dragged = false;
      if (event.pointerType === "mouse" && !event.button && overflows()) drag = event;
    });
    box.addEventListener("pointermove", (event) => {
      if (!drag) return;
      const [x, y] = [event.clientX - drag.clientX, event.clientY - drag.clientY];
      if (!dragged && Math.hypot(x, y) < DRAG_PX) return;
      if (!dragged) box.setPointerCapture(event.pointerId);
      dragged = true;
      box.scrollBy({ left: drag.clientX - event.clientX, top: drag.clientY - event.clientY, behavior: "instant" });
      drag = event;
    });
    for (const end of ["pointerup", "pointercancel"]) box.addEventListener(end, () => { drag = null; });
    box.addEventListener("click", (event) => { if (dragged) event.stopImmediatePropagation(); }, true);
    // What is larger than its frame begins at the operation that ran first.
    function begin(card) {
      const [a, b] = [card, box].map((part) => part.getBoundingClientRect());
      if (a.left < b.left || a.right > b.right) box.scrollLeft += (a.left + a.right - b.left - b.right) / 2;
    }
    box.addEventListener("dbr-show", ({ detail }) => {
      look(detail.view);
      say();
      const born = [...svg.querySelectorAll("[data-c]")].filter((card) => +card.dataset.b);
      if (born.length) begin(born.reduce((one, other) => (+other.dataset.b < +one.dataset.b ? other : one)));
    });
    const apart = ([a, b]) => Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
    box.addEventListener("touchstart", ({ touches }) => { fingers = touches.length === 2 ? apart(touches) : 0; });
    box.addEventListener("touchmove", (event) => {
      if (!fingers || event.touches.length !== 2) return;
      event.preventDefault();
      const [a, b] = event.touches, now = apart(event.touches);
      zoom(shown() * now / fingers, (a.clientX + b.clientX) / 2, (a.clientY + b.clientY) / 2);
      fingers = now;
    }, { passive: false });

    const first = box.querySelector(`[data-c="${box.dataset.first}"]`);
    let begun = false;
    new ResizeObserver(() => { // also when a tab or a folded part of a page is opened
      say();
      if (begun || !first || !shown()) return;
      begun = true;
      begin(first);
    }).observe(box);
  }

  const found = document.querySelectorAll(".dbr-frame > .dbr-graph:not([data-ready])");
  found.forEach(start);
  if (!found.length && tries) setTimeout(find, 100, tries - 1);
})(50)
