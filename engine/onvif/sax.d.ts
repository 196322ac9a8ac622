/** The part of `sax` that is used here; the package brings no types. */
declare module 'sax' {
  interface Parser {
    onerror: (error: Error) => void;
    ondoctype: () => void;
    onsgmldeclaration: () => void;
    onattribute: () => void;
    ontext: (text: string) => void;
    oncdata: (text: string) => void;
    onopentag: (tag: { name: string; attributes: Record<string, string> }) => void;
    onclosetag: () => void;
    /** What was read of a `<!…` that has not ended yet. */
    readonly sgmlDecl: string;
    write(text: string): Parser;
    close(): Parser;
  }
  const sax: { parser(strict: boolean, options?: { position?: boolean }): Parser };
  export default sax;
}
