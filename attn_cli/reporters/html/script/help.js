const KEYS = [
  ["Anywhere", [["?", "this help"], ["Tab", "the next control"]]],
  ["Among the small pictures", [["← → ↑ ↓", "move"], ["Enter", "open the head"]]],
  ["In an opened head", [
    ["← → ↑ ↓", "move the cursor by one key or query"], ["Shift + arrow", "by ten"], ["Home / End", "first and last key (with Ctrl: query)"], ["Page Up / Down", "a screen of queries"],
    ["W A S D", "pan a zoomed picture"], ["+ / −", "zoom at the cursor"], ["0", "the whole picture"], ["M", "the row's largest weight"], ["N / P", "next and previous strongest pair"],
    ["[ / ]", "previous and next head"], ["{ / }", "previous and next layer or call"], ["C", "choose a head to compare with"], ["X", "swap the two heads"], ["T", "to the text"], ["Esc", "back to all heads"],
  ]],
  ["Pointer and fingers", [["click", "set the cursor"], ["wheel, pinch, double click", "zoom"], ["drag", "pan a zoomed picture"]]],
];

function buildHelp() {
  const dialog = byId("help");
  const parts = KEYS.map(([title, list]) => el("section", {}, el("h3", {}, title), el("dl", { class: "keys" }, list.map(([key, words]) => [el("dt", {}, el("kbd", {}, key)), el("dd", {}, words)]))));
  dialog.append(el("h2", { id: "help-title" }, "Keys"), ...parts, button("close", { id: "help-close" }, () => dialog.close()));
  byId("help-open").addEventListener("click", () => dialog.showModal());
}
