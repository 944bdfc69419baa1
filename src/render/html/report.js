"use strict";
// Reads values at an instant across all charts, and sorts tables. Without it, everything else is still there.
(() => {
  document.documentElement.classList.add("js");

  const grouped = (value) => Math.round(value).toString().replace(/\B(?=(\d{3})+$)/g, " ");
  const significant = (value) => (value >= 100 ? grouped(value) : value.toFixed(value >= 10 ? 1 : 2));
  const written = (value, unit) => {
    if (value === null || value === undefined) return "–";
    if (unit === "s") return significant(value) + " s";
    if (unit === "ms") return value < 1000 ? significant(value) + " ms" : significant(value / 1000) + " s";
    return grouped(value) + (unit ? " " + unit : "");
  };

  const readInstants = (data) => {
    const section = document.getElementById("overtime");
    const slider = document.getElementById("instant");
    const at = document.getElementById("at");
    const cursors = [...section.querySelectorAll(".cursor")];
    const outputs = [...section.querySelectorAll("output[data-series]")];
    const peaks = outputs.map((output) => output.textContent);

    const show = (index) => {
      slider.value = index;
      const since = Math.min(index * data.step, data.span);
      const place = (100 * since / data.span).toFixed(3) + "%";
      for (const cursor of cursors) {
        cursor.setAttribute("x1", place);
        cursor.setAttribute("x2", place);
      }
      const time = (data.from + since).toFixed(1) + " s";
      const said = [];
      for (const output of outputs) {
        const series = data.series[output.dataset.series];
        output.textContent = written(series.values[index], series.unit);
        const panel = output.closest(".key");
        said.push(panel.querySelector("b").textContent + " " + output.parentElement.textContent.trim());
      }
      at.textContent = time;
      slider.setAttribute("aria-valuetext", time + ": " + said.join("; "));
      section.classList.add("reading");
    };
    const rest = () => {
      outputs.forEach((output, index) => { output.textContent = peaks[index]; });
      section.classList.remove("reading");
    };
    const pointed = (event) => {
      const plot = event.target.closest && event.target.closest(".panel svg.plot");
      if (!plot) return;
      const box = plot.querySelector(".cursor").ownerSVGElement.getBoundingClientRect();
      const share = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
      show(Math.min(data.count - 1, Math.round(share * data.span / data.step)));
    };

    slider.addEventListener("input", () => show(Number(slider.value)));
    slider.addEventListener("focus", () => show(Number(slider.value)));
    slider.addEventListener("blur", rest);
    slider.addEventListener("keydown", (event) => {
      if (event.key === "Escape") slider.blur();
    });
    section.addEventListener("pointermove", pointed);
    section.addEventListener("pointerdown", pointed);
    section.addEventListener("click", (event) => {
      if (event.target.closest(".panel svg.plot")) slider.focus({ preventScroll: true });
    });
    section.addEventListener("pointerleave", () => {
      if (document.activeElement !== slider) rest();
    });
  };

  const sortTables = () => {
    const value = (row, column) => {
      const cell = row.cells[column];
      const number = cell.dataset.value;
      return number === undefined ? cell.textContent.trim() : Number(number);
    };
    // What is not known comes last, whichever way.
    const unknown = (cell) => cell === "–" || cell === "";
    const compare = (a, b, way) => {
      if (unknown(a) || unknown(b)) return unknown(a) - unknown(b);
      return way * (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)));
    };
    for (const table of document.querySelectorAll("table.sortable")) {
      const heads = [...table.tHead.rows[0].cells];
      heads.forEach((head, column) => {
        const button = document.createElement("button");
        button.type = "button";
        button.append(...head.childNodes);
        head.append(button);
        button.addEventListener("click", () => {
          const down = head.getAttribute("aria-sort") !== "descending";
          heads.forEach((other) => other.removeAttribute("aria-sort"));
          head.setAttribute("aria-sort", down ? "descending" : "ascending");
          const rows = [...table.tBodies[0].rows];
          rows.sort((a, b) => compare(value(a, column), value(b, column), down ? -1 : 1));
          table.tBodies[0].append(...rows);
        });
      });
    }
  };

  const data = JSON.parse(document.getElementById("data").textContent);
  if (data) readInstants(data);
  sortTables();
})();
