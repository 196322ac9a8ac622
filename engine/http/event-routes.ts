/** Events over HTTP: found, acknowledged, annotated. */
import type { Request } from 'express';
import type { FoundEvent } from '../events/event-query.ts';
import { readNote, readWho } from '../events/incoming.ts';
import { EngineError } from '../types.ts';
import { camerasAsked, cursorOf, cursorText, filterOf, filterOfJson } from './event-params.ts';
import { integerOf, type Query } from './params.ts';
import type { Handler, Route } from './guard.ts';
import { word } from './journal.ts';
import type { NvrService } from './service.ts';
import { allows, type Access } from './tokens.ts';

/** The cameras that are asked for, of those that the token is for; null where both are all. */
function camerasFor(query: Query, access: Access): readonly string[] | null {
  const asked = camerasAsked(query);
  if (asked === null) return access.cameras === '*' ? null : access.cameras;
  for (const camera of asked) {
    if (!allows({ ...access, rights: ['playback'] }, camera, 'playback'))
      throw new EngineError('forbidden', `the token is not for camera ${camera}`);
  }
  return asked;
}

/**
 * Other cameras of an event are no business of a token that is not for them, and neither is what is said about all of
 * them together.
 */
function shownTo(access: Access, event: FoundEvent): FoundEvent {
  if (access.cameras === '*') return event;
  const cameras = event.cameras.filter((camera) => access.cameras.includes(camera));
  if (cameras.length === event.cameras.length) return event;
  const silent = { notes: [], tags: [], zones: [], boxes: [], problems: [] };
  return { ...event, ...silent, cameras, camera: cameras[0] ?? null };
}

function fieldsOf(request: Request): Readonly<Record<string, unknown>> {
  const fields: unknown = request.body;
  if (typeof fields === 'object' && fields !== null && !Array.isArray(fields)) return fields as Record<string, unknown>;
  return {};
}

/** Who the body says, or else the token. */
function whoOf(fields: Readonly<Record<string, unknown>>, access: Access): string {
  return readWho(fields) || `token ${access.id.slice(0, 8)}`;
}

/** Values of the process belong to no camera. Throws `forbidden`. */
export function tagsAllowed(access: Access): void {
  if (access.cameras !== '*') throw new EngineError('forbidden', 'tags need a token for all cameras');
}

export function addEventRoutes(route: Route): void {
  route('get', '/api/events', 'playback', 'range', async (nvr, { query }, response, access) => {
    const filter = filterOf(query, camerasFor(query, access), Date.now());
    const limit = integerOf(query, 'limit', 1, 500, 100);
    const { events, cursor } = await nvr.query.call('events', filter, cursorOf(query), limit);
    const shown = events.map((event) => shownTo(access, event));
    // Words may be of what is not shown: that such an event is found would tell them, letter by letter.
    const found = filter.text === undefined ? shown : shown.filter((event, i) => event === events[i]);
    response.json({ events: found, cursor: cursorText(cursor) });
  });

  route('get', '/api/tags', 'playback', 'none', async (nvr, _request, response, access) => {
    tagsAllowed(access);
    response.json({ tags: await nvr.query.call('tags') });
  });

  const acknowledgeAll: Handler = async (nvr, request, response, access) => {
    const { query: asked } = fieldsOf(request);
    if (typeof asked !== 'object' || asked === null || Array.isArray(asked))
      throw new EngineError(
        'bad-request',
        'query must be an object: the filters that api/events takes; an empty one is for all events',
      );
    const query = filterOfJson(asked as Record<string, unknown>);
    const filter = filterOf(query, camerasFor(query, access), Date.now());
    // Words may be of what such a token is not shown, and how many were found would tell.
    if (filter.text !== undefined && access.cameras !== '*')
      throw new EngineError('forbidden', 'to acknowledge by words needs a token for all cameras');
    const acknowledged = await nvr.host.acknowledgeEvents(filter, whoOf(fieldsOf(request), access));
    response.json({ acknowledged });
  };
  route('post', '/api/events/acknowledge', 'control', 'none', acknowledgeAll, {
    what: () => 'acknowledgement of events',
  });

  const event = ({ params }: Request): string => word(params['id']);

  const acknowledge: Handler = async (nvr, request, response, access) => {
    const id = request.params['id']!;
    await mayTouch(nvr, id, access);
    const acknowledged = await nvr.host.acknowledgeEvents(id, whoOf(fieldsOf(request), access));
    response.json({ acknowledged });
  };
  route('post', '/api/events/:id/acknowledge', 'control', 'none', acknowledge, {
    what: (request) => `acknowledgement of event ${event(request)}`,
  });

  const annotate: Handler = async (nvr, request, response, access) => {
    const id = request.params['id']!;
    await mayTouch(nvr, id, access);
    const fields = fieldsOf(request);
    await nvr.host.annotateEvent(id, whoOf(fields, access), readNote(fields).text);
    response.status(201).json({ annotated: 1 });
  };
  route('post', '/api/events/:id/notes', 'control', 'none', annotate, {
    what: (request) => `note to event ${event(request)}`,
  });
}

/** An event belongs to each of its cameras; one of other cameras is not there for a token that is not for them. */
async function mayTouch(nvr: NvrService, id: string, access: Access): Promise<void> {
  if (access.cameras === '*') return;
  const cameras = await nvr.query.call('camerasOf', id);
  if (!cameras?.some((camera) => access.cameras.includes(camera))) {
    throw new EngineError('not-found', `there is no event ${id.slice(0, 80)}`);
  }
}
