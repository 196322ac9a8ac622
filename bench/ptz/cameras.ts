/** Simulated cameras in a process of their own, so that what they cost is not counted. */
import { OnvifCamera, type CameraOptions } from '../../test/support/onvif-camera.ts';

export type Ask =
  | { ask: 'start'; count: number; options: Partial<CameraOptions> }
  /** Epoch ms at which requests of this action arrived at the first camera; forgets them. */
  | { ask: 'take'; action: string }
  | { ask: 'subscriptions' };

const cameras: OnvifCamera[] = [];

async function answer(ask: Ask): Promise<unknown> {
  switch (ask.ask) {
    case 'start': {
      const from = cameras.length;
      for (let i = 0; i < ask.count; i++) cameras.push(await new OnvifCamera(ask.options).start());
      return cameras.slice(from).map(({ address }) => address);
    }
    case 'take': {
      const times = cameras[0]!.callsOf(ask.action).map(({ at }) => performance.timeOrigin + at);
      cameras[0]!.calls.length = 0;
      return times;
    }
    case 'subscriptions':
      return cameras.reduce((sum, { events }) => sum + events.count, 0);
  }
}

process.on('message', (ask: Ask) => {
  void answer(ask).then((result) => process.send!(result));
});
process.on('disconnect', () => process.exit(0));
