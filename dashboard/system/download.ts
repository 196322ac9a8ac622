/** Lets the browser save a text as a file. */
export function download(text: string, type: string, name: string): void {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = Object.assign(document.createElement('a'), { href: url, download: name });
  link.click();
  // The browser has it when the click has been dealt with.
  window.setTimeout(() => URL.revokeObjectURL(url), 1000);
}
