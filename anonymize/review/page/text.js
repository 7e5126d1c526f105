// Texts by code points, as the server counts them; JavaScript counts UTF-16 units.

export class Text {
  constructor(string) {
    this.points = Array.from(string);
    this.words = [];
    const unit = new Map();
    let at = 0;
    this.points.forEach((point, index) => { unit.set(at, index); at += point.length; });
    unit.set(at, this.points.length);
    for (const match of string.matchAll(/[\p{L}\p{N}]+(?:['’\-][\p{L}\p{N}]+)*/gu))
      this.words.push({ start: unit.get(match.index), end: unit.get(match.index + match[0].length) });
  }
  slice(start, end) { return this.points.slice(start, end).join(""); }
}

// Fill `pane` with `text`; `items` {start, end, ...} in order without overlaps become what `make` returns, and every
// place of `doubts` outside of them is marked. All characters of the text stand in text nodes, in order.
export function render(pane, text, items, doubts, make) {
  pane.replaceChildren();
  let place = 0;
  for (const item of items) {
    plain(pane, text, place, item.start, doubts);
    const element = make(item);
    element.textContent = text.slice(item.start, item.end);
    pane.append(element);
    place = item.end;
  }
  plain(pane, text, place, text.points.length, doubts);
}

function plain(pane, text, start, end, doubts) {
  let place = start;
  for (const doubt of doubts) {
    const low = Math.max(doubt.start, place), high = Math.min(doubt.end, end);
    if (low >= high) continue;
    pane.append(text.slice(place, low));
    const element = document.createElement("span");
    element.className = "doubt";
    element.title = doubt.title;
    element.textContent = text.slice(low, high);
    pane.append(element);
    place = high;
  }
  if (place < end) pane.append(text.slice(place, end));
}

// The selection inside `pane` as {start, end}; null where there is none.
export function selected(pane) {
  const selection = document.getSelection();
  if (!selection.rangeCount || selection.isCollapsed) return null;
  const range = selection.getRangeAt(0);
  if (!pane.contains(range.startContainer) || !pane.contains(range.endContainer)) return null;
  const before = document.createRange();
  before.setStart(pane, 0);
  before.setEnd(range.startContainer, range.startOffset);
  const start = Array.from(before.toString()).length;
  const end = start + Array.from(range.toString()).length;
  return end > start ? { start, end } : null;
}

// Select code points `start` to `end` of `pane`; the range.
export function select(pane, start, end) {
  const range = document.createRange();
  const walker = document.createTreeWalker(pane, NodeFilter.SHOW_TEXT);
  let place = 0, begun = false;
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const points = Array.from(node.data);
    const units = (count) => points.slice(0, count).join("").length;
    if (!begun && start < place + points.length) {
      range.setStart(node, units(start - place));
      begun = true;
    }
    if (begun && end <= place + points.length) {
      range.setEnd(node, units(end - place));
      break;
    }
    place += points.length;
  }
  const selection = document.getSelection();
  selection.removeAllRanges();
  selection.addRange(range);
  return range;
}

// Items whose ranges overlap become one, so that they can be drawn; `keys` tells which they were.
export function merged(items) {
  const out = [];
  for (const item of [...items].sort((a, b) => a.start - b.start || b.end - a.end)) {
    const last = out.at(-1);
    if (last && item.start < last.end) {
      last.end = Math.max(last.end, item.end);
      last.keys.push(...item.keys);
    } else out.push({ ...item, keys: [...item.keys] });
  }
  return out;
}
