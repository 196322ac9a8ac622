/** What a browser is told that may not see the dashboard yet. */

const TEXTS = {
  en: {
    title: 'This browser is not admitted yet',
    text:
      'Open the dashboard once by its link: in the editor, in the NVR configuration, choose "Open the dashboard"; ' +
      'npm start prints the link, too. This browser is then admitted for 30 days, and each visit renews that.',
    other:
      'To ask for a password instead, set httpNodeAuth, or dashboard.middleware, in the settings.js of Node-RED; ' +
      'to let everybody in, tick "Open to the network" in the NVR configuration.',
  },
  de: {
    title: 'Dieser Browser ist noch nicht zugelassen',
    text:
      'Öffnen Sie das Dashboard einmal über seinen Link: Wählen Sie im Editor in der NVR-Konfiguration „Dashboard öffnen“; ' +
      'auch npm start zeigt den Link an. Danach ist dieser Browser 30 Tage lang zugelassen, und jeder Besuch verlängert das.',
    other:
      'Soll stattdessen ein Passwort verlangt werden, setzen Sie httpNodeAuth oder dashboard.middleware in der settings.js ' +
      'von Node-RED. Sollen alle Zugang haben, setzen Sie in der NVR-Konfiguration das Häkchen „Offen für das Netz“.',
  },
} as const;

export function closedText(language: keyof typeof TEXTS): string {
  return `${TEXTS[language].text} ${TEXTS[language].other}`;
}

/**
 * A page for a browser without a cookie. One that came by a link of another site has a cookie that it did not send
 * (SameSite=Strict): asked again by this page, it does.
 */
export function closedPage(language: keyof typeof TEXTS): string {
  const { title, text, other } = TEXTS[language];
  return `<!doctype html>
<html lang="${language}">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${title}</title>
<style>
  body { margin: 0; min-height: 100vh; display: grid; place-items: center; font: 16px/1.5 system-ui, sans-serif; color: #1c2430; background: #eef1f5; }
  main { max-width: 34rem; padding: 1.5rem; }
  h1 { font-size: 1.25rem; }
  @media (prefers-color-scheme: dark) { body { color: #e4e8ee; background: #0b0e13; } }
</style>
<main><h1>${title}</h1><p>${text}</p><p>${other}</p></main>
<script>
  try {
    const key = 'flow-nvr-asked-again';
    const last = Number(sessionStorage.getItem(key));
    sessionStorage.setItem(key, Date.now());
    if (Date.now() - last > 10000) location.replace(location.href);
  } catch (error) {
    // Storage is switched off: the page says what to do.
  }
</script>
</html>
`;
}
