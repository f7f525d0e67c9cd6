const answers = document.querySelector("#answers");

document.querySelector("#ask").addEventListener("click", async () => {
  const item = answers.appendChild(document.createElement("li"));
  try {
    const response = await fetch("/api/hello");
    const answer = await response.json();
    item.textContent = `${answer.backend} answered request ${answer.request}`;
  } catch (error) {
    item.textContent = `no answer: ${error.message}`;
  }
});
