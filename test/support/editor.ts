/** What a node's html registers in the editor, with as little of the editor around it as that takes. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { runInNewContext } from 'node:vm';

export interface Validator<T> {
  value: unknown;
  validate?: (this: object, value: T) => string | boolean;
}

export interface EditorNode {
  defaults: Record<string, Validator<unknown>>;
  oneditsave?: (this: object) => void;
}

/** Values of the form's fields by selector, `#node-input-url` for example. */
export type Form = Record<string, string>;

/** jQuery, as far as the code under test uses it on fields. */
function fields(form: Form): unknown {
  const field = (selector: string): object => {
    const self = {
      val: (value?: string) => {
        if (value === undefined) return form[selector] ?? '';
        form[selector] = value;
        return self;
      },
      trigger: () => self,
      each: (visit: (index: number, element: string) => void) => {
        selector.split(',').forEach((one, i) => visit(i, one.trim()));
        return self;
      },
    };
    return self;
  };
  return field;
}

/** @param others nodes that are on the canvas already */
export function loadEditorNode(type: string, form: Form = {}, others: object[] = []): EditorNode {
  const html = readFileSync(join(import.meta.dirname, '../../nodes', type, `${type}.html`), 'utf8');
  const script = /<script type="text\/javascript">([\s\S]*?)<\/script>/.exec(html)?.[1];
  if (script === undefined) throw new Error(`${type}.html has no script`);
  const registered: EditorNode[] = [];
  const RED = {
    nodes: {
      registerType: (_: string, definition: EditorNode) => registered.push(definition),
      eachNode: (visit: (node: object) => void) => others.forEach(visit),
    },
    notify: () => undefined,
  };
  const window = {};
  for (const name of ['camera-address', 'camera-list']) {
    const file = join(import.meta.dirname, '../../resources', `${name}.js`);
    runInNewContext(readFileSync(file, 'utf8'), { window, decodeURIComponent });
  }
  runInNewContext(script, { RED, window, $: fields(form), decodeURIComponent });
  return registered[0]!;
}

/** Whether the editor would show this property of a node as valid; otherwise what it says (the text's key). */
export function validate(definition: EditorNode, property: string, node: Record<string, unknown>): unknown {
  const self = { ...node, _: (key: string) => key };
  return definition.defaults[property]!.validate?.call(self, node[property]) ?? true;
}
