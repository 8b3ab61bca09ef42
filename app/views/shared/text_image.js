// Text on the page as an image: its boxes and words where the browser lays them out in a width.
const FONT = "sans-serif"; // an image does not have the fonts of the page
const SHADOW = /(rgba?\([^)]*\)|color\([^)]*\)) 0px (-?\d+)px 0px (\d+)px inset/;

/** A colour as every program reads it. */
function paint(name, colour) {
  const context = document.createElement("canvas").getContext("2d");
  context.fillStyle = colour;
  context.fillRect(0, 0, 1, 1);
  const [red, green, blue, opaque] = context.getImageData(0, 0, 1, 1).data;
  return { [name]: `rgb(${red},${green},${blue})`, [`${name}-opacity`]: (opaque / 255).toFixed(3) };
}

function svgElement(name, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
  if (text !== undefined) made.textContent = text;
  return made;
}

function ramp(svg, colours) {
  const id = `ramp${svg.childElementCount}`;
  const made = svgElement("linearGradient", { id });
  colours.forEach((colour, at) => made.append(svgElement("stop", { offset: at / (colours.length - 1), ...paint("stop-color", colour) })));
  svg.append(made);
  return { fill: `url(#${id})` };
}

function drawBox(svg, box, style, opacity) {
  const { x, y, width, height } = box;
  const rx = Math.min(parseFloat(style.borderTopLeftRadius) || 0, height / 2);
  const whole = { x, y, width, height, rx, opacity };
  const line = { ...whole, x: x + 0.5, y: y + 0.5, width: width - 1, height: height - 1, fill: "none" };
  const colours = style.backgroundImage.match(/rgba?\([^)]*\)/g);
  if (colours?.length > 1) svg.append(svgElement("rect", { ...whole, ...ramp(svg, colours) }));
  const ground = paint("fill", style.backgroundColor);
  if (Number(ground["fill-opacity"])) svg.append(svgElement("rect", { ...whole, ...ground }));
  const [, colour, down, around] = style.boxShadow.match(SHADOW) ?? [];
  if (Number(around)) svg.append(svgElement("rect", { ...line, ...paint("stroke", colour) }));
  else if (colour) svg.append(svgElement("rect", { ...whole, y: y + height + Number(down), height: -down, rx: 1, ...paint("fill", colour) }));
  if (style.outlineStyle === "none" || !parseFloat(style.outlineWidth)) return;
  const dash = style.outlineStyle === "dashed" ? { "stroke-dasharray": "3 2" } : {};
  svg.append(svgElement("rect", { ...line, ...dash, "stroke-width": parseFloat(style.outlineWidth), ...paint("stroke", style.outlineColor) }));
}

function drawWords(svg, node, from, style, opacity) {
  const context = document.createElement("canvas").getContext("2d");
  context.font = style.font;
  const ascent = context.measureText("x").fontBoundingBoxAscent;
  const looks = { "font-size": parseFloat(style.fontSize), "font-weight": style.fontWeight, opacity, ...paint("fill", style.color) };
  if (style.textDecorationLine !== "none") looks["text-decoration"] = style.textDecorationLine;
  for (const word of node.data.matchAll(/\S+/g)) {
    const range = document.createRange();
    range.setStart(node, word.index);
    range.setEnd(node, word.index + word[0].length);
    const box = range.getBoundingClientRect();
    const place = { x: box.x - from.x, y: box.y - from.y + ascent, textLength: box.width };
    if (box.width) svg.append(svgElement("text", { ...place, ...looks }, word[0]));
  }
}

function drawElement(svg, element, from, above) {
  const style = getComputedStyle(element);
  if (style.display === "none") return;
  const opacity = above * Number(style.opacity);
  for (const { x, y, width, height } of element.getClientRects())
    if (width && height) drawBox(svg, { x: x - from.x, y: y - from.y, width, height }, style, opacity);
  for (const child of element.childNodes) {
    if (child.nodeType === Node.TEXT_NODE) drawWords(svg, child, from, style, opacity);
    if (child.nodeType === Node.ELEMENT_NODE) drawElement(svg, child, from, opacity);
  }
}

/** All of it, also what is scrolled out of view. */
function textAsSvg(element, width, ground) {
  const copy = element.cloneNode(true);
  Object.assign(copy.style, { position: "fixed", left: 0, top: 0, width: `${width}px`, maxHeight: "none", visibility: "hidden", fontFamily: FONT });
  for (const part of copy.querySelectorAll(".strip, .selected")) {
    part.style.maxHeight = "none";
    part.classList.remove("selected");
  }
  for (const part of copy.querySelectorAll("[data-mark]")) {
    part.classList.remove("unseen");
    part.prepend(part.dataset.mark);
  }
  element.parentNode.append(copy);
  const from = copy.getBoundingClientRect();
  const height = Math.ceil(copy.scrollHeight) + 2; // a line below the last box
  const svg = svgElement("svg", { width, height, viewBox: `0 0 ${width} ${height}`, "font-family": FONT });
  svg.append(svgElement("rect", { width, height, fill: ground }));
  drawElement(svg, copy, from, 1);
  copy.remove();
  return { svg: new XMLSerializer().serializeToString(svg), height };
}
