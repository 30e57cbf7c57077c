// Addresses that lead to a step: `#dbr-2-step-5` opens the second player of the page at its fifth step, and every
// player gets a link to the step that it shows. The address bar changes only when that link is used, so that
// stepping leaves the reader's history, and the section that they came for, alone.
(() => {
  const players = [...document.querySelectorAll(".dbr-player")];

  function address(player) {
    return `#dbr-${players.indexOf(player) + 1}-step-${player.dataset.step}`;
  }

  function open() {
    const [, number, step] = location.hash.match(/^#dbr-(\d+)-step-(\d+)$/) || [];
    const player = players[number - 1];
    if (!player) return;
    for (let fold = player; (fold = fold.parentElement.closest("details")); ) fold.open = true;
    const slider = player.querySelector("input[type=range]");
    slider.value = step;
    slider.dispatchEvent(new Event("input"));
    player.scrollIntoView();
    player.focus({ preventScroll: true }); // the arrow keys go on from here
  }

  function addLink(player) {
    const place = document.createElement("span");
    const link = document.createElement("a");
    const say = (words) => { link.textContent = words; };
    const follow = () => {
      link.href = address(player);
      say("Link to this step");
    };
    place.setAttribute("aria-live", "polite");
    place.append(link);
    player.querySelector(".dbr-note").children[0].after(place);
    follow();
    new MutationObserver(follow).observe(player, { attributeFilter: ["data-step"] });
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return; // a new tab or window, as with any link
      event.preventDefault();
      history.replaceState(history.state, "", link.href);
      const copied = navigator.clipboard ? navigator.clipboard.writeText(link.href) : Promise.reject();
      copied.then(() => say("Link copied"), () => say("The address bar has the link"));
    });
  }

  players.forEach(addLink);
  addEventListener("hashchange", open);
  if (document.readyState === "complete") open();
  else addEventListener("load", open); // when everything above has its height
})();
