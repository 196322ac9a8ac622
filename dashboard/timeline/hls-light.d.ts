/** The build without what recordings here do not have (other sound tracks, subtitles, DRM) carries no types of its own. */
declare module 'hls.js/light' {
  export * from 'hls.js';
  export { default } from 'hls.js';
}
