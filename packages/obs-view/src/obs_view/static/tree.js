// The spans of a trace as a tree: which rows are to be seen, and which siblings repeat each other.

const LEAST_REPEATS = 3;

export class Tree {
  constructor(rows) {
    this.rows = rows;
    this.byId = new Map(rows.map((row) => [row.id, row]));
    this.measure();
    this.findRepeats();
  }

  // For each row, where its part of the list ends, and a number that rows with equal subtrees share.
  measure() {
    const numbers = new Map();
    const open = [];
    this.rows.forEach((row, index) => {
      while (open.length && open.at(-1).depth >= row.depth) open.pop().end = index;
      Object.assign(row, { index, shapes: [], repeats: null, above: open.at(-1) || null });
      open.push(row);
    });
    for (const row of open) row.end = this.rows.length;
    for (let index = this.rows.length - 1; index >= 0; index--) {
      const row = this.rows[index];
      row.parental = row.end > index + 1;
      row.flawed = row.status === "ERROR" || row.flawed === true;
      const shape = JSON.stringify([row.name, row.service, row.kind, row.attempt || 0, row.shapes]);
      if (!numbers.has(shape)) numbers.set(shape, numbers.size);
      row.shape = numbers.get(shape);
      delete row.shapes;
      if (row.above) {
        row.above.shapes.unshift(row.shape);
        if (row.flawed) row.above.flawed = true;
      }
    }
  }

  findRepeats() {
    const settle = (run) => {
      if (run.length < LEAST_REPEATS) return;
      const repeats = { id: `×${run[0].id}`, rows: run };
      for (const row of run) row.repeats = repeats;
    };
    const runs = new Map();
    for (const row of this.rows) {
      const run = runs.get(row.above);
      if (run && run[0].shape === row.shape && !row.flawed) run.push(row);
      else {
        if (run) settle(run);
        runs.set(row.above, row.flawed ? [] : [row]);
        if (row.flawed) runs.delete(row.above);
      }
    }
    for (const run of runs.values()) settle(run);
  }

  // The items to be drawn: a row, or a run of siblings that repeat each other as one.
  visible(collapsed, fold, opened) {
    const items = [], ends = [];
    for (let index = 0; index < this.rows.length;) {
      const row = this.rows[index];
      while (ends.length && ends.at(-1) <= index) ends.pop();
      const repeats = fold && row.repeats;
      if (repeats && repeats.rows[0] === row) {
        items.push({ id: repeats.id, row, repeats, depth: row.depth + ends.length, open: opened.has(repeats.id), parental: true });
        if (!opened.has(repeats.id)) {
          index = repeats.rows.at(-1).end;
          continue;
        }
        ends.push(repeats.rows.at(-1).end);
      }
      const open = !collapsed.has(row.id);
      items.push({ id: row.id, row, depth: row.depth + ends.length, open, parental: row.parental });
      index = open ? index + 1 : row.end;
    }
    return items;
  }

  // What must be opened so that a row can be seen.
  above(id) {
    const rows = [], runs = [];
    for (let row = this.byId.get(id); row; row = row.above) {
      if (row.id !== id) rows.push(row.id);
      if (row.repeats) runs.push(row.repeats.id);
    }
    return { rows, runs };
  }
}
