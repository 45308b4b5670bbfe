// Places of a map's boxes and arrows: callers left of what they call, long arrows led between the boxes.

const WIDTH = 172, HEIGHT = 40, GAP_X = 124, GAP_Y = 18, THIN = 10, MARGIN = 8;

export function layout(nodes, edges) {
  const ranks = rankAll(nodes, edges);
  const columns = [];
  const add = (column, item) => { (columns[column] ||= []).push(item); return item; };
  const boxes = nodes.map((node, number) => add(ranks[number], { height: HEIGHT, from: [] }));
  const routes = edges.map(({ from, to }) => {
    const route = [boxes[from]];
    for (let column = ranks[from] + 1; column < ranks[to]; column++) route.push(add(column, { height: THIN, from: [] }));
    route.push(boxes[to]);
    if (ranks[to] > ranks[from]) route.slice(1).forEach((item, index) => item.from.push(route[index]));
    return route;
  });
  const height = stack(columns.filter(Boolean));
  const paths = edges.map(({ from, to }, number) => arrow(routes[number], from === to, edges.some((edge) => edge.from === to && edge.to === from)));
  return { boxes, paths, width: columns.filter(Boolean).length * (WIDTH + GAP_X) - GAP_X + 2 * MARGIN, height };
}

// One column right of the last caller; calls that lead back, as an answer's would, do not count.
function rankAll(nodes, edges) {
  const rank = nodes.map(() => 0), seen = new Set();
  const calls = nodes.map((_, number) => edges.filter((edge) => edge.from === number && edge.to !== number).map((edge) => edge.to));
  const called = new Set(edges.filter((edge) => edge.from !== edge.to).map((edge) => edge.to));
  const visit = (number, depth, above) => {
    if (above.has(number) || (seen.has(number) && depth <= rank[number])) return;
    seen.add(number);
    rank[number] = depth;
    above.add(number);
    for (const next of calls[number]) visit(next, depth + 1, above);
    above.delete(number);
  };
  nodes.forEach((_, number) => { if (!called.has(number)) visit(number, 0, new Set()); });
  nodes.forEach((_, number) => { if (!seen.has(number)) visit(number, 0, new Set()); });
  return rank;
}

// Each column in the order of its callers, around a common middle.
function stack(columns) {
  const tall = (items) => items.reduce((sum, item) => sum + item.height + GAP_Y, -GAP_Y);
  const height = Math.max(...columns.map(tall));
  columns.forEach((items, column) => {
    const middle = (item) => item.from.reduce((sum, before) => sum + before.y + before.height / 2, 0) / item.from.length || 0;
    if (column) items.sort((one, other) => middle(one) - middle(other) || other.height - one.height);
    let y = MARGIN + 8 + (height - tall(items)) / 2;
    for (const item of items) {
      Object.assign(item, { x: MARGIN + column * (WIDTH + GAP_X), y, width: WIDTH });
      y += item.height + GAP_Y;
    }
  });
  return height + 2 * MARGIN + 34;
}

function arrow(route, loop, both) {
  const from = route[0], to = route.at(-1);
  if (loop) {
    const x = from.x + WIDTH / 2, y = from.y + HEIGHT;
    return { path: `M${x - 30},${y} C${x - 30},${y + 24} ${x + 30},${y + 24} ${x + 30},${y}`, tip: `M${x + 30},${y} l-4,6 h8 z`, label: { x, y: y + 30 } };
  }
  const forward = to.x > from.x, aside = to.x === from.x;
  const shift = both ? (forward ? -7 : 7) : 0;
  const level = (item) => item.y + item.height / 2 + (item.height === HEIGHT ? shift : 0);
  const start = { x: forward || aside ? from.x + WIDTH : from.x, y: level(from) };
  let path = `M${start.x},${start.y}`, at = start, label = null;
  for (const item of route.slice(1)) {
    const x = aside ? item.x + WIDTH : forward ? item.x : item.x + WIDTH, y = level(item);
    const bend = aside ? x + GAP_X / 3 : (at.x + x) / 2;
    path += ` C${bend},${at.y} ${bend},${y} ${x},${y}`;
    label ||= { x: aside ? bend : (at.x + x) / 2, y: (at.y + y) / 2 + (forward ? -4 : 14) };
    if (item !== to) path += ` H${x + WIDTH}`;
    at = { x: item === to ? x : x + WIDTH, y };
  }
  return { path, tip: `M${at.x},${at.y} l${forward ? -7 : 7},-4 v8 z`, label };
}
