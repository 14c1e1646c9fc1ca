// The rules of a check: what each looks for, why, an example and where it is described.

function ruleOf(finding) {
  const rule = page.check && page.check.rules.find((one) => one.code === finding.code);
  return rule ? ruleText(rule) : null;
}

function ruleText(rule) {
  const name = el("summary", {}, el("span", {}, el("code", {}, rule.code), " ", rule.name));
  return el("details", { class: "rule", "data-rule": rule.code }, name, ruleWords(rule));
}

function ruleWords(rule) {
  return rows([["looks for", rule.sentence], ["why", rule.why], ["example", rule.example], ["source", rule.source]]);
}

function rulesSection() {
  const { rules, left_out: leftOut } = page.check;
  const found = new Set(page.findings.map((one) => one.code));
  const said = leftOut.length ? `${rules.length} of ${rules.length + leftOut.length} ran` : `all ${rules.length} ran`;
  const title = el("summary", {}, el("h2", {}, "Rules"), el("span", { class: "muted" }, said));
  return el("details", { id: "rules", class: "card", open: !page.findings.length }, title,
    el("ul", { class: "rules" }, rules.map((rule) => el("li", {}, ruleText(rule), found.has(rule.code) ? el("span", { class: "muted" }, "found") : ""))),
    leftOut.length > 0 && el("p", { class: "muted" }, `Not looked for: ${leftOut.map((rule) => `${rule.code} ${rule.name}`).join(", ")}.`));
}
