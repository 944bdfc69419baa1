//! A terminal of bounded size: what is drawn is kept twice in memory, a cell a character, and some terminals claim to be
//! 65535 characters wide.

use ratatui::backend::{Backend, ClearType, WindowSize};
use ratatui::buffer::Cell;
use ratatui::layout::{Position, Size};

/// The largest area that is drawn, from the upper left corner.
const LARGEST: Size = Size { width: 1000, height: 400 };

/// A backend of which no more than [`LARGEST`] is used.
#[derive(Debug)]
pub(super) struct Bounded<B>(pub(super) B);

impl<B: Backend> Backend for Bounded<B> {
    type Error = B::Error;

    fn size(&self) -> Result<Size, B::Error> {
        let Size { width, height } = self.0.size()?;
        Ok(Size { width: width.min(LARGEST.width), height: height.min(LARGEST.height) })
    }

    fn window_size(&mut self) -> Result<WindowSize, B::Error> {
        let window = self.0.window_size()?;
        Ok(WindowSize { columns_rows: self.size()?, ..window })
    }

    fn draw<'a, I: Iterator<Item = (u16, u16, &'a Cell)>>(&mut self, content: I) -> Result<(), B::Error> {
        self.0.draw(content)
    }

    fn hide_cursor(&mut self) -> Result<(), B::Error> {
        self.0.hide_cursor()
    }

    fn show_cursor(&mut self) -> Result<(), B::Error> {
        self.0.show_cursor()
    }

    fn get_cursor_position(&mut self) -> Result<Position, B::Error> {
        self.0.get_cursor_position()
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> Result<(), B::Error> {
        self.0.set_cursor_position(position)
    }

    fn clear(&mut self) -> Result<(), B::Error> {
        self.0.clear()
    }

    fn clear_region(&mut self, clear_type: ClearType) -> Result<(), B::Error> {
        self.0.clear_region(clear_type)
    }

    fn flush(&mut self) -> Result<(), B::Error> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;

    #[test]
    fn an_absurd_terminal_is_drawn_in_its_upper_left_corner() {
        let mut terminal = Terminal::new(Bounded(TestBackend::new(5000, 600))).unwrap();
        terminal.draw(|frame| assert_eq!(frame.area().as_size(), LARGEST)).unwrap();
        let mut small = Terminal::new(Bounded(TestBackend::new(80, 24))).unwrap();
        small.draw(|frame| assert_eq!(frame.area().as_size(), Size::new(80, 24))).unwrap();
    }
}
