package probe;

import jakarta.servlet.ServletException;
import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.zip.CRC32;

/** A servlet that answers every method in one function. */
abstract class Page extends HttpServlet {
    @Override
    protected final void service(HttpServletRequest request, HttpServletResponse response)
            throws ServletException, IOException {
        response.setContentType("text/plain");
        response.setCharacterEncoding("UTF-8");
        try {
            answer(request, response);
        } catch (ServletException | IOException | RuntimeException error) {
            throw error;
        } catch (Exception error) {
            throw new ServletException(error);
        }
    }

    abstract void answer(HttpServletRequest request, HttpServletResponse response) throws Exception;

    static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    /** A number that tells contents apart. */
    static String sum(byte[] bytes) {
        CRC32 crc = new CRC32();
        crc.update(bytes);
        return bytes.length + ":" + Long.toHexString(crc.getValue());
    }

    static int number(HttpServletRequest request, String name) {
        return Integer.parseInt(request.getParameter(name));
    }

    /** What went wrong, in one word. */
    static String name(Throwable error) {
        return error == null ? "none" : error.getClass().getSimpleName();
    }
}
