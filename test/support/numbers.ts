/** Runs in a page: the number that each camera's picture shows, see footage.ts. */
import { BITS } from './footage.ts';

export const readsNumbers = `
const numbersCanvas = new OffscreenCanvas(${BITS} * 8, 8);
const numbersContext = numbersCanvas.getContext('2d', { willReadFrequently: true });
window.numberOf = (video) => {
  const side = Math.floor(video.videoWidth / ${BITS} / 2) * 2;
  if (video.readyState < 2 || side === 0) return null;
  numbersContext.drawImage(video, 0, 0, side * ${BITS}, side, 0, 0, numbersCanvas.width, 8);
  const { data } = numbersContext.getImageData(0, 4, numbersCanvas.width, 1);
  let number = 0;
  for (let k = 0; k < ${BITS}; k++) if (data[(k * 8 + 4) * 4] > 127) number += 2 ** k;
  return number;
};
window.shownNumbers = () => Object.fromEntries([...document.querySelectorAll('.tl-camera')].map((camera) => {
  const video = [...camera.querySelectorAll('video')].find((one) => one.style.display !== 'none');
  return [camera.dataset.camera, video ? numberOf(video) : null];
}));
`;
