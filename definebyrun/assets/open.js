// Opens what is folded in a drawing, in a player or alone: a card gives way to the drawing of its inside. The page holds
//   .dbr-inside   a script of no language with such a drawing as SVG: data-of the card that it opens, data-title its name,
//                 data-in the place in the list of these scripts of the inside that holds that card, empty for the whole
//   .dbr-path     where the way back is written
// Whoever draws on top of it hears `dbr-show` at .dbr-graph: `view` holds the drawing, `at` is its place in the list.
(function find(tries) {
  function start(box) {
    const root = box.closest(".dbr"), nav = box.parentNode.querySelector(".dbr-path");
    const stored = [...root.querySelectorAll("script.dbr-inside")], whole = box.querySelector(".dbr-in");
    const view = box.appendChild(Object.assign(document.createElement("div"), { className: "dbr-view" })), name = box.getAttribute("aria-label");
    box.dataset.opens = "1";
    let path = []; // the places of the insides on the way from the whole graph

    function doors(within, at) {
      stored.forEach(({ dataset }, place) => {
        const card = dataset.in === at && within.querySelector(`[data-c="${dataset.of}"]`);
        if (!card) return;
        card.dataset.open = place;
        card.classList.add("dbr-opens");
        for (const [key, value] of Object.entries({ role: "button", tabindex: 0, "aria-label": "Open " + dataset.title })) {
          card.setAttribute(key, value);
        }
        card.closest("svg").setAttribute("role", "group"); // an image would hide its buttons
      });
    }
    function crumb(title, to, last) {
      const part = nav.appendChild(document.createElement(last ? "b" : "button"));
      part.textContent = title;
      if (last) part.setAttribute("aria-current", "location");
      else part.onclick = () => show(to);
    }
    function show(to) {
      const from = path, at = to.at(-1), inside = at !== undefined;
      path = to;
      whole.classList.toggle("dbr-away", inside);
      view.innerHTML = inside ? stored[at].textContent : "";
      if (inside) doors(view, String(at));
      nav.hidden = !inside;
      nav.replaceChildren();
      crumb("whole graph", []);
      to.forEach((place, depth) => crumb(stored[place].dataset.title, to.slice(0, depth + 1), depth === to.length - 1));
      box.setAttribute("aria-label", inside ? "Inside of " + stored[at].dataset.title : name);
      box.scrollTo(0, 0);
      box.dispatchEvent(new CustomEvent("dbr-show", { detail: { view: inside ? view : whole, at } }));
      const left = from.length > to.length && (inside ? view : whole).querySelector(`[data-open="${from[to.length]}"]`);
      (left || box).focus({ preventScroll: !left }); // on the way back, the card that was opened
    }
    doors(whole, "");

    function opened(event) {
      const card = event.target.closest("[data-open]");
      if (!card) return false;
      event.preventDefault();
      event.stopPropagation();
      show([...path, +card.dataset.open]);
      return true;
    }
    box.addEventListener("click", opened, true);
    box.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && opened(event)) return;
      if (event.key !== "Escape" || !path.length) return;
      event.stopPropagation();
      show(path.slice(0, -1));
    });
  }

  const found = [...document.querySelectorAll(".dbr-graph:not([data-opens])")];
  const ready = found.filter((box) => box.closest(".dbr").querySelector("script.dbr-inside"));
  ready.forEach(start);
  if (!ready.length && tries) setTimeout(find, 100, tries - 1);
})(50)
