/**
 * The Markdown of an answer as elements: paragraphs, headings, lists, fenced blocks, code spans, bold and italics.
 * Everything else stays plain text: no links, no images, no HTML.
 */

const FENCE = /^(\s*)(`{3,}|~{3,})[^`]*$/;
const HEADING = /^#{1,6}\s+(.+)$/;
const ITEM = /^(\s*)([-*+]|(\d{1,9})[.)])\s+(.*)$/;
const INLINE = /(`+)(?<code>.+?)\1(?!`)|\*\*(?=\S)(?<strong>.+?)\*\*|(?<![\w*])\*(?=\S)(?<em>[^*]+)\*(?![\w*])/gs;
// Invisible characters, and those that change the order in which a text is shown.
const UNSEEN = /[^\P{C}\n\t]/gu;
const BLANK = /[\p{Z}\t]/gu;

/** The blocks of a text, each `{kind, ...}`. While the text grows, only the last one changes. */
export function parse(text) {
  const blocks = [];
  let block = null;
  let isAfterBlank = false;
  const begin = (next) => blocks.push((block = next));
  for (const line of text.split(/\r?\n/)) {
    if (block?.kind === "code" && !block.isClosed) {
      addCodeLine(block, line);
      continue;
    }
    const [, indent, fence] = FENCE.exec(line) ?? [];
    const heading = HEADING.exec(line);
    const item = ITEM.exec(line);
    if (!line.trim()) isAfterBlank = true;
    else if (fence) begin({ kind: "code", fence, indent: indent.length, lines: [], isClosed: false });
    else if (heading) begin({ kind: "heading", text: heading[1] });
    else if (item) addItem(block, item, begin);
    else if (block?.kind === "list" && (!isAfterBlank || /^\s/.test(line))) block.items.push(`${block.items.pop()}\n${line.trim()}`);
    else if (block?.kind === "paragraph" && !isAfterBlank) block.text += `\n${line}`;
    else begin({ kind: "paragraph", text: line });
    if (line.trim()) isAfterBlank = false;
  }
  return blocks;
}

function addCodeLine(block, line) {
  const ending = line.trim();
  if (ending.startsWith(block.fence) && !ending.replaceAll(block.fence[0], "")) block.isClosed = true;
  else block.lines.push(line.replace(new RegExp(`^\\s{0,${block.indent}}`), ""));
}

function addItem(block, [, indent, , number, text], begin) {
  const depth = Math.min(3, Math.floor(indent.length / 2));
  const isOrdered = number !== undefined;
  if (block?.kind === "list" && block.depth === depth && block.isOrdered === isOrdered) block.items.push(text);
  else begin({ kind: "list", isOrdered, start: Number(number ?? 1), depth, items: [text] });
}

/** The element of a block; `codeElement(lines, isWhole)` builds that of a fenced block. */
export function draw(block, codeElement) {
  switch (block.kind) {
    case "code":
      return codeElement(
        block.lines.map((line) => line.replace(UNSEEN, "")),
        block.isClosed,
      );
    case "heading":
      return element("h4", inline(block.text));
    case "list":
      return list(block);
    default:
      return element("p", inline(block.text));
  }
}

/** A line of code from `draw`, as it can be typed. */
export function asCommand(line) {
  return line.replace(BLANK, " ").trim();
}

function list({ isOrdered, start, depth, items }) {
  const found = element(isOrdered ? "ol" : "ul", items.map((text) => element("li", inline(text))));
  if (isOrdered) found.start = start;
  found.dataset.depth = depth;
  return found;
}

function inline(text) {
  const nodes = [];
  let end = 0;
  for (const match of text.matchAll(INLINE)) {
    const { code, strong, em } = match.groups;
    nodes.push(text.slice(end, match.index));
    if (code !== undefined) nodes.push(element("code", [code.replace(/^ (.+) $/s, "$1").replace(UNSEEN, "")]));
    else nodes.push(element(strong === undefined ? "em" : "strong", inline(strong ?? em)));
    end = match.index + match[0].length;
  }
  return [...nodes, text.slice(end)];
}

function element(name, children) {
  const made = document.createElement(name);
  made.append(...children);
  return made;
}
