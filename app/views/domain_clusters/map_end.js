// Called anew with what the server tells; the map on the page stays as it is looked at.
const MAPS = new WeakMap();

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".map");
  try {
    if (!MAPS.has(root)) MAPS.set(root, new PointMap(root));
    const map = MAPS.get(root);
    map.show(data, setTriggerValue);
    root.asSvg = (size, ground) => map.points && asSvg(map, size, ground); // for the menu below it
  } catch (error) {
    root.classList.add("failed");
    root.querySelector(".hint").textContent = `This browser cannot draw the map: ${error.message}.`;
  }
  return () => {
    setTimeout(() => {
      if (root.isConnected || !MAPS.has(root)) return;
      MAPS.get(root).end();
      MAPS.delete(root);
    });
  };
}
