"use strict";
/* What plotly would read in a text: tags, and mathematics between dollar signs. */
const literal = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/\$/g, "&#36;");
const slug = (text) => text.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "").slice(0, 60) || "report";
const chartOf = (figure) => JSON.parse(figure.querySelector("script").textContent);

for (const figure of document.querySelectorAll("figure[data-chart]")) {
  const chart = chartOf(figure);
  Plotly.newPlot(figure.querySelector(".plot"), chart.data, chart.layout, { responsive: true, displayModeBar: false });
}
for (const tools of document.querySelectorAll(".tools")) tools.hidden = false;

function redraw() {
  for (const plot of document.querySelectorAll(".plot")) Plotly.Plots.resize(plot);
}
window.matchMedia("print").addEventListener("change", redraw);

/* The contents stand open beside the report where there is room. */
const contents = document.querySelector("nav details");
const wide = window.matchMedia("(min-width: 1200px)");
if (contents) {
  const follow = () => { contents.open = wide.matches; };
  follow();
  wide.addEventListener("change", follow);
}

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

/* A picture stands alone: it takes along its title and the legend of its section. */
function picture(figure, format) {
  const chart = chartOf(figure);
  const title = figure.querySelector("figcaption span").textContent;
  const keys = [...figure.closest("section").querySelectorAll(".keys li")].map((key) => {
    const symbol = key.querySelector("span");
    return `<span style="color: ${symbol.style.color}">${literal(symbol.textContent)}</span> ${literal(key.textContent.replace(symbol.textContent, "").trim())}`;
  });
  const lines = [];
  for (let i = 0; i < keys.length; i += 3) lines.push(keys.slice(i, i + 3).join("   "));
  const height = chart.layout.height + 70 + 18 * lines.length;
  chart.layout = {
    ...chart.layout,
    autosize: false, paper_bgcolor: "#fff", plot_bgcolor: "#fff", width: 900, height,
    margin: { l: 16, r: 24, t: 60 + 18 * lines.length, b: 16 },
    title: {
      text: literal(title), x: 0, xref: "paper", y: 1, yref: "container", yanchor: "top", pad: { t: 16 }, font: { size: 16 },
      subtitle: { text: lines.join("<br>"), font: { size: 12 } },
    },
  };
  return Plotly.downloadImage(chart, { format, width: 900, height, scale: format === "png" ? 2 : 1, filename: slug(title) });
}

const valueOf = (cell) => cell.dataset.value ?? cell.textContent;

function compare(a, b) {
  const [x, y] = [Number(a), Number(b)];
  return a !== "" && b !== "" && !isNaN(x) && !isNaN(y) ? x - y : a.localeCompare(b);
}

/* Rows without a value stay last in either direction. */
function sort(header) {
  const table = header.closest("table");
  const column = [...header.parentNode.children].indexOf(header);
  const ascending = header.getAttribute("aria-sort") !== "ascending";
  const rows = [...table.tBodies[0].rows].sort((a, b) => {
    const [x, y] = [valueOf(a.children[column]), valueOf(b.children[column])];
    if (x === "" || y === "") return (x === "") - (y === "");
    return ascending ? compare(x, y) : compare(y, x);
  });
  for (const other of header.parentNode.children) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  table.tBodies[0].append(...rows);
}

/* A quote stands before what a spreadsheet would take for a formula; full-width signs count as the others. */
const FORMULA = /^[=+\-@\uff1d\uff0b\uff0d\uff20\t\r\n]/;
const NUMBER = /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$|^-inf$/i;
function field(text) {
  const safe = FORMULA.test(text) && !NUMBER.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
const csv = (table) => [...table.rows].map((row) => [...row.cells].map((cell) => field(valueOf(cell))).join(",") + "\r\n").join("");

async function copy(button) {
  const code = button.closest(".code").querySelector("code");
  try {
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = button.dataset.copied;
  } catch {
    window.getSelection().selectAllChildren(code);
    button.textContent = button.dataset.selected;
  }
  setTimeout(() => { button.textContent = button.dataset.label; }, 2000);
}

const ACTIONS = {
  sort: (button) => sort(button.closest("th")),
  csv: (button) => {
    const section = button.closest("section");
    save(new Blob(["\ufeff", csv(section.querySelector("table"))], { type: "text/csv" }), `${section.id}.csv`);
  },
  png: (button) => picture(button.closest("figure"), "png"),
  svg: (button) => picture(button.closest("figure"), "svg"),
  copy,
};
document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-do]");
  if (button) ACTIONS[button.dataset.do](button);
  event.target.closest("td")?.classList.toggle("whole");
});

/* A box whose table is wider than itself says so. */
const watch = new ResizeObserver((entries) => {
  for (const { target: box } of entries) box.previousElementSibling.firstElementChild.hidden = box.scrollWidth <= box.clientWidth;
});
for (const box of document.querySelectorAll(".box")) watch.observe(box);
