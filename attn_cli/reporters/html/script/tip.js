// One small box for definitions, by pointer and by keyboard focus; Escape puts it away.

function explained(element, lines) {
  const show = () => showTip(element, lines);
  element.addEventListener("pointerenter", show);
  element.addEventListener("focus", show);
  element.addEventListener("pointerleave", hideTip);
  element.addEventListener("blur", hideTip);
  return element;
}

function showTip(element, lines) {
  const tip = byId("tip");
  const written = typeof lines === "function" ? lines() : lines;
  tip.replaceChildren(...written.filter(Boolean).map((line, at) => el("p", { class: at ? "" : "tip-title" }, line)));
  tip.hidden = false;
  element.setAttribute("aria-describedby", "tip");
  const [box, own] = [element.getBoundingClientRect(), tip.getBoundingClientRect()];
  const room = { across: document.documentElement.clientWidth, down: document.documentElement.clientHeight };
  const below = box.bottom + 8 + own.height <= room.down || box.top - 8 - own.height < 0;
  tip.style.left = `${clamp(box.left, 8, Math.max(8, room.across - own.width - 8))}px`;
  tip.style.top = `${below ? box.bottom + 8 : box.top - 8 - own.height}px`;
}

function hideTip() {
  const tip = byId("tip");
  if (tip.hidden) return;
  tip.hidden = true;
  for (const element of document.querySelectorAll("[aria-describedby=tip]")) element.removeAttribute("aria-describedby");
}

function metricLines(metric) {
  const unit = unitText(metric.unit);
  return [metric.name, metric.definition, unit && `Unit: ${unit}.`, metric.source && `Source: ${metric.source}`];
}

function metricTip(element, at) {
  return explained(element, metricLines(page.metrics[at]));
}
