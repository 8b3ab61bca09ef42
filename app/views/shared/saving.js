// What every menu of a figure does: a file, an image of an SVG, the link to the page.
function saveFile(content, type, name) {
  const link = document.createElement("a"); // on no page: a click there would close an open menu
  Object.assign(link, { href: URL.createObjectURL(new Blob([content], { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

async function asPng(svg, width, height, scale) {
  const image = new Image();
  image.src = URL.createObjectURL(new Blob([svg], { type: "image/svg+xml" }));
  await image.decode();
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width: scale * width, height: scale * height });
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  URL.revokeObjectURL(image.src);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}

async function saveSvg(svg, { name, format, width, height, scale }) {
  const content = format === "svg" ? svg : await asPng(svg, width, height, scale);
  saveFile(content, format === "svg" ? "image/svg+xml" : "image/png", `${name}.${format}`);
}

/** By a button, which says so. */
async function copyLink(button) {
  const link = window.location.href;
  try {
    await navigator.clipboard.writeText(link);
  } catch {
    const field = document.createElement("textarea"); // of a page that is not served securely
    field.value = link;
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  }
  const words = (button.dataset.words ??= button.textContent);
  button.textContent = "Copied";
  setTimeout(() => (button.textContent = words), 1500);
}
