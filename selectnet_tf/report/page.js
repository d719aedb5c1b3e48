// A gallery's buttons: shows the round whose button is pressed.
for (const button of document.querySelectorAll("button[data-round]")) {
  button.addEventListener("click", () => {
    for (const other of button.parentElement.querySelectorAll("button")) {
      const shown = other === button;
      other.setAttribute("aria-pressed", shown);
      document.getElementById(other.dataset.round).hidden = !shown;
    }
  });
}
