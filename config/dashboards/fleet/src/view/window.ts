// Of a long list only what is seen is on the page. Items have one height, and stand in one column or several.

export interface Item<T> {
  element: HTMLElement;
  /** What gets the focus when somebody goes to it by keyboard. */
  focus: HTMLElement;
  update(value: T, index: number): void;
  remove(): void;
}

export interface Shape {
  height: number;
  /** Of an item at least; the list has as many columns as fit. Undefined: one. */
  width?: number;
}

/** Items above and below what is seen, so that none is missing while the list is moved. */
const BEYOND = 4;

export class Window<T> {
  private values: readonly T[] = [];
  private readonly items = new Map<string, Item<T>>();
  private columns = 1;
  private indices = new Map<string, number>();
  private scheduled = false;
  private readonly observer: ResizeObserver;

  constructor(
    private readonly scroller: HTMLElement,
    private readonly canvas: HTMLElement,
    private readonly shape: Shape,
    private readonly key: (value: T) => string,
    private readonly make: (value: T) => Item<T>,
  ) {
    scroller.addEventListener("scroll", () => this.schedule(), { passive: true });
    canvas.addEventListener("keydown", (event) => this.move(event));
    this.observer = new ResizeObserver(() => this.schedule());
    this.observer.observe(scroller);
  }

  show(values: readonly T[]): void {
    this.values = values;
    this.indices = new Map(values.map((value, index) => [this.key(value), index]));
    this.draw();
  }

  close(): void {
    this.observer.disconnect();
    for (const item of this.items.values()) item.remove();
    this.items.clear();
  }

  private schedule(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    requestAnimationFrame(() => {
      this.scheduled = false;
      this.draw();
    });
  }

  private draw(): void {
    const { height, width } = this.shape;
    this.columns = width === undefined ? 1 : Math.max(1, Math.floor(this.canvas.clientWidth / width));
    const whole = Math.ceil(this.values.length / this.columns) * height;
    this.canvas.style.height = `${whole}px`;
    // The browser moves a list that has become shorter only later.
    const top = Math.min(this.scroller.scrollTop, Math.max(0, whole - this.scroller.clientHeight));
    const first = Math.max(0, Math.floor(top / height) - BEYOND) * this.columns;
    const rows = Math.ceil(this.scroller.clientHeight / height) + 2 * BEYOND;
    const wanted = new Map<string, number>();
    for (let index = first; index < Math.min(this.values.length, first + rows * this.columns); index++) {
      wanted.set(this.key(this.values[index] as T), index);
    }
    // What has the focus stays, wherever it is: otherwise the keyboard would be nowhere.
    const focused = [...this.items].find(([, item]) => item.element.contains(document.activeElement))?.[0];
    const index = focused === undefined ? undefined : this.indices.get(focused);
    if (focused !== undefined && index !== undefined) wanted.set(focused, index);
    for (const [key, item] of this.items) {
      if (wanted.has(key)) continue;
      item.remove();
      item.element.remove();
      this.items.delete(key);
    }
    const active = document.activeElement;
    const inOrder = [...wanted].sort(([, a], [, b]) => a - b);
    for (const [place, [key, at]] of inOrder.entries()) this.place(key, at, place);
    // An element that was moved has lost it.
    if (active instanceof HTMLElement && focused !== undefined && document.activeElement !== active) active.focus({ preventScroll: true });
  }

  /** `place` is among the elements, which are in the order of the list for who reads them one after the other. */
  private place(key: string, index: number, place: number): void {
    const value = this.values[index] as T;
    let item = this.items.get(key);
    if (!item) {
      item = this.make(value);
      this.items.set(key, item);
    }
    const there = this.canvas.children[place] ?? null;
    if (there !== item.element) this.canvas.insertBefore(item.element, there);
    item.update(value, index);
    const { style } = item.element;
    const [column, row] = [index % this.columns, Math.floor(index / this.columns)];
    style.top = `${row * this.shape.height}px`;
    style.left = `${(100 * column) / this.columns}%`;
    style.width = `${100 / this.columns}%`;
  }

  private move(event: KeyboardEvent): void {
    const here = [...this.items].find(([, item]) => item.element.contains(event.target as Node))?.[0];
    const index = here === undefined ? undefined : this.indices.get(here);
    if (index === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
    const page = Math.max(1, Math.floor(this.scroller.clientHeight / this.shape.height) - 1) * this.columns;
    const steps: Record<string, number> = {
      ArrowDown: this.columns, ArrowUp: -this.columns, ArrowRight: this.columns > 1 ? 1 : 0, ArrowLeft: this.columns > 1 ? -1 : 0,
      PageDown: page, PageUp: -page, Home: -index, End: this.values.length,
    };
    const step = steps[event.key];
    if (step === undefined || step === 0) return;
    event.preventDefault();
    this.go(Math.min(this.values.length - 1, Math.max(0, index + step)));
  }

  private go(index: number): void {
    const { scroller, shape } = this;
    const top = Math.floor(index / this.columns) * shape.height;
    const room = scroller.clientHeight - this.canvas.offsetTop;
    if (top < scroller.scrollTop) scroller.scrollTop = top;
    else if (top + shape.height > scroller.scrollTop + room) scroller.scrollTop = top + shape.height - room;
    this.draw();
    const value = this.values[index];
    if (value !== undefined) this.items.get(this.key(value))?.focus.focus({ preventScroll: true });
  }
}
