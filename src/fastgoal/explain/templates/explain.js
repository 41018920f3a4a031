// Shows, in its section, the sentence (or the attention) under the pointer or the keyboard; a click keeps it there.
for (const section of document.querySelectorAll("section.subject")) {
  const buttons = [...section.querySelectorAll("[data-show]")];
  let kept = "";
  const show = (what) => {
    section.classList.toggle("showing", what !== "");
    for (const part of section.querySelectorAll(".stage [data-of]")) part.classList.toggle("on", part.dataset.of === what);
    for (const button of buttons) button.classList.toggle("on", button.dataset.show === what);
  };
  for (const button of buttons) {
    const own = button.dataset.show;
    button.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && show(own));
    button.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && show(kept));
    button.addEventListener("click", () => {
      kept = kept === own ? "" : own;
      for (const each of buttons) each.setAttribute("aria-pressed", String(each.dataset.show === kept));
      show(kept);
    });
  }
}
