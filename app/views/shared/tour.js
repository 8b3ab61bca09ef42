// The offer of a tour: until this browser has answered it once.
const ANSWERED = "routescope-tour";

function answered() {
  try {
    return window.localStorage.getItem(ANSWERED) !== null;
  } catch {
    return true; // a browser that keeps nothing is not asked again and again
  }
}

export default function ({ parentElement, setTriggerValue }) {
  const offer = parentElement.querySelector(".offer");
  const [words, yes, no] = offer.children;
  words.textContent = "New here? Five steps show what each kind of page is for.";
  yes.textContent = "Take the tour";
  no.textContent = "No, thanks";
  const answer = (start) => {
    window.localStorage.setItem(ANSWERED, "answered");
    offer.hidden = true;
    if (start) setTriggerValue("start", true);
  };
  yes.onclick = () => answer(true);
  no.onclick = () => answer(false);
  offer.hidden = answered();
}
